"""Scores of pooled ranks and simultaneous intervals: laws, power, what they cannot see (T18c, T18d)."""

import numpy as np
import pytest
from scipy import stats

from brg_prob.arrays import holm
from brg_prob.correspondence.agreement import intervals
from brg_prob.correspondence.chains import ar1_chains
from brg_prob.correspondence.marginals import Compared, Marginals
from brg_prob.correspondence.rank_scores import (
    SCORES,
    rank_score_z,
    smallest_detectable_place,
    smallest_detectable_ratio,
)

INDEPENDENT = {"independent1": True, "independent2": True}
ALTERNATIVES = {
    "sd x 1.5": lambda v, rng: 1.5 * v,
    "sd x 2": lambda v, rng: 2 * v,
    "sd / 2": lambda v, rng: v / 2,
    "shift .3": lambda v, rng: v + 0.3,
    "bimodal .9": lambda v, rng: 0.9 * np.sign(v) + np.sqrt(1 - 0.81) * rng.standard_normal(v.shape),
    "exponential": lambda v, rng: rng.exponential(size=v.shape) - 1,
}


def within(count, trials, probability):
    """Whether a count is one a binomial law shows 999 times of 1000."""
    return stats.binomtest(count, trials, probability).pvalue > 1e-3


def test_scores_are_wilcoxons_and_uncorrelated():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1, 300, 1))
    z = rank_score_z(first, second + 0.1, **INDEPENDENT)[:, 0]
    # van der Waerden's test, written out
    pooled = np.concatenate([first.ravel(), (second + 0.1).ravel()])
    normal = stats.norm.ppf((stats.rankdata(pooled) - 0.5) / 600)
    spread = normal.std(ddof=1) * np.sqrt(2 / 300)
    assert z[0] == pytest.approx((normal[:300].mean() - normal[300:].mean()) / spread, rel=1e-9)
    many = np.stack([rank_score_z(*rng.normal(size=(2, 1, 60, 50)), **INDEPENDENT) for _ in range(40)])
    cells = many.transpose(1, 0, 2).reshape(len(SCORES), -1)
    np.testing.assert_allclose(np.cov(cells), np.eye(4), atol=4 * np.sqrt(2 / cells.shape[1]))
    for score in cells:
        assert stats.kstest(score, "norm").pvalue > 1e-3


def test_ties_and_constants_are_no_difference():
    rng = np.random.default_rng(1)
    first, second = (rng.integers(0, 3, (1, 500, 1)).astype(float) for _ in range(2))
    still = np.ones((1, 500, 1))
    z = rank_score_z(np.concatenate([first, still], 2), np.concatenate([second, still], 2), **INDEPENDENT)
    assert np.all(np.abs(z[:, 0]) < 4)
    assert np.all(z[:, 1] == 0)
    with pytest.raises(ValueError, match="same D"):
        rank_score_z(first, np.concatenate([second, still], 2))
    with pytest.raises(ValueError, match="not finite"):
        rank_score_z(first, np.full_like(second, np.nan))


@pytest.mark.parametrize("correlation", [-0.5, 0.6])
def test_chains_are_neither_thinned_nor_permuted_and_calibrated(correlation):
    rng = np.random.default_rng(2)
    right = wrong = 0
    for _ in range(30):
        one, two = (np.moveaxis(ar1_chains(correlation, (10, 4, 500), rng), 0, 2) for _ in range(2))
        p = [2 * stats.norm.sf(np.abs(rank_score_z(one, two, **own))) for own in ({}, INDEPENDENT)]
        right += np.sum(p[0][0] < 0.05)
        wrong += np.sum(p[1][0] < 0.05)
    assert within(right, 300, 0.05) or abs(right / 300 - 0.05) < 0.03
    assert not within(wrong, 300, 0.05)  # as if they were independent


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_one_parameter_of_twenty_is_found(name):
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(5):
        first, second = rng.normal(size=(2, 1, 1000, 20))
        second[..., 7] = ALTERNATIVES[name](second[..., 7], rng)
        marginal = Marginals.of(first, second, np.zeros((0, 20)), level=0.05, **INDEPENDENT)
        compared = Compared(tuple(map(str, range(20))), (None, marginal), 0.025)
        assert {k for _, _, k in compared.rejected()} <= {7}
        found += bool(compared.differs())
        assert {at for at, _, _ in compared.rejected()} <= {1}
    assert found == 5


def test_the_smallest_detectable_ratio_and_place_are_found_four_times_of_five():
    rng, level = np.random.default_rng(4), 0.01
    ratio, place = (law(400, 400, level) for law in (smallest_detectable_ratio, smallest_detectable_place))
    first, second = rng.normal(size=(2, 1, 400, 200))
    for score, moved in ((0, second + place), (1, second * ratio)):
        z = rank_score_z(first, moved, **INDEPENDENT)[score]
        assert within(int(np.sum(2 * stats.norm.sf(np.abs(z)) < level)), 200, 0.8)


def test_intervals_cover_and_equal_laws_agree_when_there_are_draws_enough():
    rng = np.random.default_rng(5)
    covered, agreed = 0, {400: 0, 1000: 0}
    for _ in range(60):
        for size in agreed:
            one, two = rng.normal(size=(2, 1, size, 20))
            two[..., 0] = 1.25 * two[..., 0] + 0.0
            apart = intervals(one, two, **INDEPENDENT)
            truth = np.where(np.arange(20) == 0, -np.log(1.25), 0.0)
            missed = np.abs(apart.log_ratio - truth) > apart.log_ratio_width
            covered += size == 1000 and not (missed | (np.abs(apart.shift) > apart.shift_width)).any()
            agreed[size] += bool(apart.inside()[1:].all())
            assert not apart.inside()[0]  # off by the tolerance: never in sixty
    assert covered / 60 > 0.87
    assert agreed[400] == 0
    assert agreed[1000] / 60 > 0.9


def test_heavy_tails_widen_the_interval_and_a_frozen_parameter_is_outside():
    rng = np.random.default_rng(6)
    normal, heavy = rng.normal(size=(1, 2000, 1)), rng.standard_t(5, size=(1, 2000, 1))
    plain, wide = intervals(normal, normal[:, ::-1], **INDEPENDENT), intervals(normal, heavy, **INDEPENDENT)
    assert wide.log_ratio_width[0] > 1.2 * plain.log_ratio_width[0]
    frozen = intervals(normal, np.zeros_like(normal), **INDEPENDENT)
    assert frozen.outside()[0]
    assert not frozen.inside()[0]


def test_of_many_coordinates_the_loudest_are_scored_and_all_are_counted():
    rng = np.random.default_rng(7)
    first, second = rng.normal(size=(2, 1, 800, 300))
    second[..., 250] *= 1.6
    marginal = Marginals.of(first, second, np.zeros((0, 300)), level=0.05, **INDEPENDENT)
    assert np.count_nonzero(np.any(marginal.z != 0, axis=0)) == 100
    compared = Compared(tuple(map(str, range(300))), (marginal,), 0.025)
    assert compared.count == 1200
    assert {k for _, _, k in compared.differs()} == {250}
    whole = 2 * stats.norm.sf(np.abs(rank_score_z(first, second, **INDEPENDENT)))
    assert holm(whole.ravel()).reshape(whole.shape)[1, 250] == pytest.approx(
        compared.adjusted[0, 1, 250], rel=1e-6
    )


@pytest.mark.exam
@pytest.mark.parametrize(("dimension", "bound"), [(2, 0.05), (20, 0.05), (100, 0.05)])
def test_false_alarms_of_the_table(dimension, bound):
    rng, alarms, seeds = np.random.default_rng(dimension), 0, 200
    for _ in range(seeds):
        first, second = rng.normal(size=(2, 1, 1000, dimension))
        turned = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
        marginal = Marginals.of(first, second, turned, level=0.05, **INDEPENDENT)
        names = tuple(map(str, range(2 * dimension)))
        alarms += bool(Compared(names, (marginal,), bound).rejected())
    assert alarms / seeds <= bound + 2 * np.sqrt(bound * (1 - bound) / seeds)
