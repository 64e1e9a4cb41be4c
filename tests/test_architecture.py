"""The readout, the scheme and the hypothesis in docs/architecture.md run as printed, and can fail."""

import dataclasses
import importlib
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

from brg_prob import check_correspondence, coarse_grain, sample_prior

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Write the page's files where they can be imported, and return the text of one."""
    text = PAGE.read_text(encoding="utf-8")
    found = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", text, flags=re.S))
    for name, code in found.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return found


def test_the_newcomers_scheme_and_hypothesis_work_with_everything_else(printed, capsys):
    both = importlib.import_module("both")
    assert both.exact.verdict == "consistent", both.exact.status
    assert both.prior.verdict == "consistent", both.prior.status
    assert "Flow: CosNet, coupled, 3 scales" in capsys.readouterr().out
    # every draw walks along one path: what is random is drawn once
    z = [np.asarray(chart) for chart in both.flow.z()]
    assert min(stats.pearsonr(a, b).statistic for a, b in zip(z[1].T, z[2].T, strict=True)) > 0.5
    independent = coarse_grain(
        both.network, both.posterior, both.metric, scales=both.flow.scales, key=jax.random.key(1)
    )
    z = [np.asarray(chart) for chart in independent.z()]
    assert min(stats.pearsonr(a, b).statistic for a, b in zip(z[1].T, z[2].T, strict=True)) < 0.3
    # and both can fail
    first = both.metric.first
    first = dataclasses.replace(first, eigenvalues=2 * first.eigenvalues)
    wrong = dataclasses.replace(both.flow, metric=dataclasses.replace(both.metric, first=first))
    assert check_correspondence(wrong).verdict == "inconsistent"
    other = dataclasses.replace(both.flow, network=dataclasses.replace(both.network, mass=1.3))
    assert check_correspondence(other, both.PriorCovariance()).verdict == "inconsistent"
    with pytest.raises(ValueError, match="PriorCovariance does not apply: the flow does not reach T = 0"):
        check_correspondence(dataclasses.replace(both.flow, scales=(80.0, 8.0)), both.PriorCovariance())


def test_the_newcomers_readout_is_one_network_in_both_of_its_forms(printed, capsys):
    own = importlib.import_module("own_readout")
    assert own.checks.verdict == "consistent", own.checks.status
    assert "Leave-one-out is in closed form at all 3 scales" in capsys.readouterr().out
    # the flow at T = 10 is the ridge regression on its features, by dense algebra
    (hidden,), (n, square) = own.flow.hidden, (len(own.x), own.network.noise**2)
    phi, y = np.asarray(own.network.features(own.x, hidden)), own.flow.targets[:, 0]
    kernel = phi @ phi.T / own.network.width
    gain = kernel @ np.linalg.inv(kernel + square * n / 10 * np.eye(n))
    spread = np.sqrt(np.diagonal(kernel - gain @ kernel))
    field = np.asarray(list(own.flow.fields())[1])[:, :, 0]
    assert np.all(np.abs(field.mean(axis=0) - gain @ y) < 5 * spread / np.sqrt(len(field)))
    np.testing.assert_allclose(field.std(axis=0), spread, rtol=0.1)

    def moments(network):
        drawn = sample_prior(network, own.x[::7], key=jax.random.key(2), draws=4000)["prior"]["f"].values[0]
        return np.mean(drawn**2, axis=0), np.std(drawn**2, axis=0) / np.sqrt(len(drawn))

    def model(x, y=None):  # the NumPyro model alone: hidden layers of the same law
        return own.network(x, y)

    (first, error), (second, other) = moments(own.network), moments(model)
    assert np.all(np.abs(first - second) < 4 * np.hypot(error, other))

    class Narrow(type(own.network)):
        """Hidden layers of another law than the NumPyro model's."""

        def sample_hidden(self, key):
            hidden = super().sample_hidden(key)
            return hidden | {"w": hidden["w"] / 4}

    assert np.any(np.abs(moments(Narrow())[0] - second) > 10 * other)
