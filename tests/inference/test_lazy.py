"""Networks trained in all layers leave the theory of the trained readout; wide ones near the tangent one."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from inference._lazy import LazySetting, distance, lazy_departures

FAR = stats.norm.isf(1e-3)
"""z of a departure that chance gives once in a thousand."""


@pytest.mark.slow
def test_all_layers_part_from_the_readouts_theory_with_depth_and_near_the_tangent_one_with_width():
    setting = LazySetting(members=80, epochs=200, activation="erf", bias_variance=0.0)
    narrow, wide, deep_narrow, deep = lazy_departures((6, 36), (1, 3), setting)
    error = np.hypot(deep_narrow.tangent.square_se, deep.tangent.square_se)
    assert deep_narrow.tangent.square - deep.tangent.square > FAR * error
    for small, large in ((narrow, wide), (deep_narrow, deep)):
        assert large.tangent.square < large.readout.square
        # hidden layers stop moving as they widen: 1/N, six times as wide
        assert 3 < small.kernel_change / large.kernel_change < 12
        # the readout's theory is left for good
        assert large.readout.square > FAR * large.readout.square_se
    error = np.hypot(deep.readout.square_se, wide.readout.square_se)
    assert deep.readout.square - wide.readout.square > FAR * error
    # control: with frozen hidden layers the readout's theory holds, and the tangent one does not
    frozen = dataclasses.replace(setting, layers="readout")
    (lazy,) = lazy_departures((36,), (1,), frozen)
    assert abs(lazy.readout.square) < FAR * lazy.readout.square_se
    assert lazy.tangent.square > FAR * lazy.tangent.square_se
    assert lazy.kernel_change == 0


def test_the_squared_distance_of_noisy_means_is_unbiased():
    """Against its expectation over 300 ensembles, with the spread that its jackknife error says."""
    rng = np.random.default_rng(0)
    theory, shift = np.array([1.0, -2.0, 2.0]), np.array([0.3, 0.0, 0.1])
    found = [distance(theory + shift + rng.normal(size=(25, 3)), theory) for _ in range(300)]
    square = np.array([each.square for each in found])
    z = (square.mean() - np.sum(shift**2) / 9) / (square.std(ddof=1) / np.sqrt(300))
    assert abs(z) < FAR
    said = np.sqrt(np.mean([each.square_se**2 for each in found]))
    assert said / square.std(ddof=1) == pytest.approx(1, abs=0.2)
    # control: the plain square of the mean is far too large
    plain = np.mean([np.sum((shift + rng.normal(size=(25, 3)).mean(0)) ** 2) / 9 for _ in range(300)])
    assert plain > 2 * square.mean()
