"""The exam of chains tells uniform p-values from others: each of its complaints has draws that draw it."""

import dataclasses

import numpy as np
import pytest

from exams.chains import CHECKS, SCALES, Found, Uniform, control, table

SEEDS = 200


@pytest.fixture
def ideal():
    """What ideal draws of 200 seeds give, the scales being independent."""
    p = np.random.default_rng(3).uniform(size=(SEEDS, len(CHECKS), len(SCALES)))
    joint = np.minimum(1.0, len(SCALES) * p.min(axis=2))
    ess = np.full((SEEDS, len(CHECKS)), 420.0)
    return Found(p, joint, joint.min(axis=1) < 0.025, ess, np.full(SEEDS, 1.009), np.full(SEEDS, True))


def failed(rows):
    return [row[:3] for row in rows if not row[-1].startswith("ok")]


def test_ideal_draws_pass(ideal):
    rows = table("ideal", ideal)
    assert not failed(rows)
    assert len(rows) == 1 + len(CHECKS) * (len(SCALES) + 1) + 1
    assert "smallest ESS 420, R-hat 1.009 (medians), 200 of 200 admitted" in rows[0][0]


def test_p_values_too_small_at_one_scale_are_found_at_that_scale(ideal):
    p = ideal.p_values.copy()
    p[:, 1, 2] **= 1.6
    worse = dataclasses.replace(ideal, p_values=p)
    assert failed(table("worse", worse)) == [("worse", CHECKS[1], f"{SCALES[2]:g}")]


def test_joint_p_values_may_be_too_large_but_not_too_small(ideal):
    large, small = (dataclasses.replace(ideal, joint=ideal.joint**power) for power in (0.5, 2))
    assert not failed(table("large", large))
    assert failed(table("small", small)) == [("small", name, "all (Holm)") for name in CHECKS]
    assert not Uniform.of(ideal.joint[:, 0] ** 0.5).holds  # two-sided it would be found


def test_a_wrong_mass_that_passes_and_verdicts_too_often_inconsistent_are_complained_of(ideal):
    blind = dataclasses.replace(ideal, wrong=np.arange(SEEDS) % 5 > 0)
    assert failed(table("blind", blind)) == [("blind", "propagator, 1.1 m", "all (Holm)")]
    harsh = dataclasses.replace(ideal, inconsistent=np.arange(SEEDS) % 8 == 0)
    assert [row[1:] for row in failed(table("harsh", harsh))] == [("verdict", "all")]


def test_a_control_that_looks_uniform_is_complained_of(ideal):
    assert [row[-1] for row in control("blind", ideal)] == ["not found out"] * len(CHECKS)
    bad = dataclasses.replace(ideal, p_values=ideal.p_values**3)
    assert [row[-1] for row in control("seen", bad)] == ["ok: found out"] * len(CHECKS)
