"""The Fisher information of published regressions is the closed form; draws are compared in the exam."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from exams import posteriors


@pytest.mark.parametrize("name", ["kidiq_momiq", "sblrc_blr", "arK"])
def test_the_information_of_a_published_regression_is_the_closed_form(name):
    found, right = posteriors.information(name)
    np.testing.assert_allclose(found, right, rtol=1e-6)


def test_another_prior_has_another_information(monkeypatch):
    other = dataclasses.replace(posteriors.LINES["kidiq_momiq"], sigma=stats.halfcauchy(scale=2.6))
    monkeypatch.setitem(posteriors.LINES, "kidiq_momiq", other)
    found, right = posteriors.information("kidiq_momiq")
    assert [abs(f / r - 1) > 1e-3 for f, r in zip(found, right, strict=True)] == [False, False, True]
