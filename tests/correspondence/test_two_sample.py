"""Energy distance of two sets of draws: size, law under the hypothesis, power; a flow against the truth."""

import re
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from scipy import stats

from brg_prob.correspondence import check_against_tempering, energy_distance
from brg_prob.correspondence.chains import ar1_chains
from brg_prob.correspondence.two_sample import equivalent_shift, shifted_size, smallest_detectable_shift

KEY = jax.random.key(0)
INDEPENDENT = {"independent1": True, "independent2": True}


def within(count, trials, probability):
    """Whether a count is one a binomial law shows 999 times of 1000."""
    return stats.binomtest(count, trials, probability).pvalue > 1e-3


def test_one_dimension_is_scipys_energy_distance():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=120), 0.3 + 1.4 * rng.normal(size=80)
    across = np.abs(x[:, None] - y).mean()
    # scipy's estimate counts each draw's distance 0 from itself; taking that out removes the bias
    squared = stats.energy_distance(x, y) ** 2
    squared -= sum(np.abs(v[:, None] - v).mean() / (len(v) - 1) for v in (x, y))
    found = energy_distance(x[:, None], y[:, None], key=KEY, permutations=9, **INDEPENDENT)
    assert found.size == pytest.approx(squared / (2 * across), rel=1e-9)


def test_size_is_zero_for_equal_laws_and_grows_with_the_shift():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 600, 3))
    shifts = (0.0, 0.5, 1.0, 2.0, 20.0)
    found = [
        energy_distance(x, y + np.array([s, 0, 0]), key=KEY, permutations=19, **INDEPENDENT) for s in shifts
    ]
    sizes = [one.size for one in found]
    assert sizes[0] <= found[0].null_size < 0.005
    assert np.all(np.diff(sizes) > 0)
    assert sizes[-1] < 1


@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_the_equivalent_shift_is_that_of_a_normal_law(dimension):
    rng = np.random.default_rng(3)
    shift = np.eye(dimension)[0]
    x, y, other_x, other_y = (
        rng.normal(size=(4, 200_000, dimension)) if dimension < 9 else rng.normal(size=(4, 20_000, dimension))
    )
    across = np.linalg.norm(x - y - shift, axis=1)
    inside = np.linalg.norm(other_x - other_y, axis=1)
    error = np.hypot(across.std(), inside.std()) / np.sqrt(len(x)) / across.mean()
    assert shifted_size(1.0, dimension) == pytest.approx(1 - inside.mean() / across.mean(), abs=4 * error)
    for value in (0.01, 0.5, 3.0, 50.0):
        assert equivalent_shift(shifted_size(value, dimension), dimension) == pytest.approx(value, rel=1e-5)


def test_p_values_of_independent_draws_are_uniform():
    rng = np.random.default_rng(4)
    p = [
        energy_distance(*rng.normal(size=(2, 60, 2)), key=jax.random.key(i), permutations=199, **INDEPENDENT)
        for i in range(200)
    ]
    assert stats.kstest([one.p_value for one in p], "uniform").pvalue > 1e-3


def test_chains_are_calibrated_and_raw_chains_are_not():
    rng = np.random.default_rng(5)
    rejected = np.zeros(2, int)
    trials = 120
    for i in range(trials):
        x, y = (np.moveaxis(ar1_chains(0.8, (2, 4, 400), rng), 0, 2).reshape(-1, 2) for _ in range(2))
        own = {"key": jax.random.key(i), "permutations": 99}
        right = energy_distance(x, y, chains1=4, chains2=4, **own)
        wrong = energy_distance(x[:400], y[:400], **INDEPENDENT, **own)  # permuted as it is
        rejected += [right.p_value <= 0.05, wrong.p_value <= 0.05]
    assert within(rejected[0], trials, 0.05)
    assert not within(rejected[1], trials, 0.05)


@pytest.mark.parametrize("size", [60, 250])
def test_the_smallest_detectable_shift_is_found_four_times_of_five(size):
    rng = np.random.default_rng(6)
    shift = smallest_detectable_shift(size, size, 2, 0.05)
    own = INDEPENDENT | {"key": KEY, "permutations": 99}
    moved = np.array([shift, 0.0])
    found = [energy_distance(x, y + moved, **own) for x, y in rng.normal(size=(150, 2, size, 2))]
    assert within(sum(one.p_value <= 0.05 for one in found), 150, 0.8)
    assert found[0].smallest_detectable == pytest.approx(shift)


@dataclass
class Draws:
    """As much of a flow as the check asks for."""

    draws: tuple
    scales: tuple = (100.0, 50.0, 10.0, 1.0)
    chains: int = 1
    independent: bool = True
    divergences: int = 0

    def z(self):
        yield from self.draws

    @property
    def labels(self):
        return tuple("abcdefghij"[: self.draws[0].shape[1]])

    @property
    def directions(self):
        return np.eye(self.draws[0].shape[1])[:0]


@pytest.fixture(scope="module")
def sets():
    first, second = np.random.default_rng(7).normal(size=(2, 4, 500, 2))
    second[0] = first[0]  # the engine's own draws
    return first, second


def test_the_wrong_scale_and_the_wrong_parameter_are_named(sets):
    first, second = sets
    found = check_against_tempering(Draws(tuple(first)), Draws(tuple(second)), tolerance=0.05, key=KEY)
    assert found.verdict == "undetermined"  # 500 draws cannot show that no shift exceeds 0.05
    assert np.isnan(found.tree["distance"]["p_value"][0])
    marginal, joint = found.checks
    assert (marginal.verdict, joint.verdict) == ("undetermined", "consistent")
    assert "rejected at none" in joint.detail
    wrong = second.copy()
    wrong[2] = wrong[2] * [1, 1.5]
    found = check_against_tempering(Draws(tuple(first)), Draws(tuple(wrong)), key=KEY)
    marginal, joint = found.checks
    assert found.verdict == "inconsistent"
    assert np.flatnonzero(joint.scale_p_values < 0.01).tolist() == [2]
    assert "not to be trusted at T = 10 (" in joint.detail
    assert found.tree["distance"]["size"].values.argmax() == 2
    assert found.tree["distance"]["rejected"].values[2] == 1
    assert marginal.verdict == "inconsistent"
    assert np.flatnonzero(marginal.scale_p_values < 0.01).tolist() == [2]
    assert re.search(r"differs in scale of b at T = 10 \(spread 0\.7\d times", marginal.detail)
    assert "sampled anew" in found.status


def test_the_default_tolerance_and_enough_draws_are_consistent(sets):
    first, second = sets
    flow, truth = Draws(tuple(first)), Draws(tuple(second))
    found = check_against_tempering(flow, truth, key=KEY)
    assert found.verdict == "consistent"
    assert "at 3 scales" in found.checks[0].detail  # T = n against itself is no test
    assert "within 0.3 sd and its spread within a factor 1.25" in found.status
    assert re.search(r"a shift of 0\.[123]\d? sd along one direction would", found.checks[1].detail)
    assert found.tree["distance"]["rejected"].values.sum() == 0
    assert np.isnan(found.tree["agreement"]["shift"].values[0]).all()
    assert check_against_tempering(flow, flow, key=KEY).verdict == "undetermined"
    diverged = Draws(tuple(first), divergences=1)
    assert check_against_tempering(diverged, truth, key=KEY).verdict == "undetermined"


def test_a_difference_within_tolerance_is_named_and_agrees():
    first, second = np.random.default_rng(8).normal(size=(2, 1, 6000, 2))
    flow = Draws(tuple(first), scales=(10.0,))
    moved = Draws((second[0] * 1.1,), scales=(10.0,))
    found = check_against_tempering(flow, moved, key=KEY)
    assert found.checks[0].verdict == "consistent"
    assert "told apart, but within tolerance: scale of" in found.checks[0].detail
    half = Draws((np.abs(second[0]) * 1.66 - 1.32,), scales=(10.0,))  # mean and sd within, another shape
    found = check_against_tempering(flow, half, key=KEY)
    assert found.checks[0].verdict == "inconsistent"
    assert "differs in skew of" in found.checks[0].detail


def test_dependence_between_parameters_is_seen_by_the_joint_law_and_by_directions():
    rng = np.random.default_rng(9)
    first = rng.normal(size=(4000, 2))
    second = rng.normal(size=(4000, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T

    @dataclass
    class Turned(Draws):
        directions: object = None

    sets = [Draws((one,), scales=(10.0,)) for one in (first, second)]
    blind = check_against_tempering(*sets, key=KEY)
    assert [check.verdict for check in blind.checks] == ["consistent", "inconsistent"]
    turned = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    sets = [Turned((one,), scales=(10.0,), directions=turned) for one in (first, second)]
    seen = check_against_tempering(*sets, key=KEY)
    assert "direction" in seen.checks[0].detail
    assert seen.verdict == "inconsistent"


def test_other_scales_are_refused(own_refusals, sets):
    flow = Draws(tuple(sets[0]))
    with pytest.raises(ValueError, match="different scales"):
        check_against_tempering(flow, Draws(flow.draws, scales=(100.0, 50.0, 10.0, 2.0)), key=KEY)
    with pytest.raises(ValueError, match="2 and 3 coordinates"):
        energy_distance(np.zeros((9, 2)), np.zeros((9, 3)), key=KEY)
