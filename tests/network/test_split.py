"""Splits of rows into training and held-out ones."""

import jax
import numpy as np
import pytest

from brg_prob.network.split import alternate_split, block_split, random_split, split_rows


@pytest.mark.parametrize("kind", ["alternate", "random", "block"])
@pytest.mark.parametrize("n", [2, 9, 10])
def test_splits_are_partitions(kind, n):
    split = split_rows(n, kind, key=jax.random.key(1))
    np.testing.assert_array_equal(np.sort(np.concatenate([split.train, split.test])), np.arange(n))
    assert len(split.test) and len(split.train) and split.description


def test_alternate_keeps_an_equispaced_record_equispaced_on_the_same_box():
    t = np.linspace(0.0, 10.0, 400, endpoint=False)
    steps = np.diff(t[alternate_split(400).train])
    np.testing.assert_allclose(steps, 2 * (t[1] - t[0]), rtol=1e-9)
    assert len(steps) + 1 == 200
    scattered = np.diff(t[random_split(400, key=jax.random.key(0)).train])
    assert np.ptp(scattered) > 0.01


def test_splits_follow_the_key():
    first, again, other = (random_split(50, key=jax.random.key(k), fraction=0.2).test for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) == 10 and not np.array_equal(first, other)
    np.testing.assert_array_equal(block_split(10, fraction=0.3).test, [7, 8, 9])
    starts = {int(block_split(10, key=jax.random.key(k), fraction=0.3).test[0]) for k in range(60)}
    assert starts == set(range(8))


def test_random_splits_hold_out_every_row_equally_often():
    counts = np.zeros(10)
    for k in range(400):
        counts[random_split(10, key=jax.random.key(k), fraction=0.3).test] += 1
    # hypergeometric inclusion: variance p(1-p) per split, covariance -p(1-p)/9, so the sum below is χ²_9
    chi2 = np.sum((counts - 120) ** 2) / (400 * 0.3 * 0.7) * 9 / 10
    assert chi2 < 27.9  # 0.1 % point of χ²_9


def test_bad_splits_are_refused():
    for call, message in (
        (lambda: alternate_split(1), "1 rows leave 1 to train and 0"),
        (lambda: block_split(4, fraction=0.01), "4 rows leave 4 to train and 0"),
        (lambda: block_split(4, fraction=1.0), "fraction = 1.0 must lie"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="needs a key"):
        split_rows(5, "random")
    with pytest.raises(ValueError, match="choose alternate"):
        split_rows(5, "odd")
