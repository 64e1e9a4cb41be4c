"""Columns of a table to arguments, and splits."""

import jax
import numpy as np
import pytest

from brg_prob.network.bind import alternate_split, bind, block_split, random_split, split_rows


def plain(x, y=None):
    """The usual signature."""


def weighted(x, y=None, *, weight, offset=0.0):
    """Two covariates, one of them required."""


TABLE = {"year": [1, 2, 3], "y": [0.1, 0.2, 0.3], "weight": [1.0, 2.0, 4.0], "height": [5.0, 6.0, 7.0]}


def test_columns_named_like_arguments_go_there_and_the_rest_is_stacked():
    bound = bind(TABLE, weighted)
    assert (bound.inputs, bound.target, list(bound.covariates)) == (("year", "height"), ("y",), ["weight"])
    np.testing.assert_array_equal(bound.x, [[1, 5], [2, 6], [3, 7]])
    np.testing.assert_array_equal(bound.y, [0.1, 0.2, 0.3])
    part = bound.rows([2, 0])
    np.testing.assert_array_equal(part.x, [[3, 7], [1, 5]])
    np.testing.assert_array_equal(part.covariates["weight"], [4.0, 1.0])
    np.testing.assert_array_equal(part.y, [0.3, 0.1])


def test_targets_and_inputs_can_be_named():
    bound = bind(TABLE, plain, target=["height", "y"], inputs=["weight"])
    assert bound.y.shape == (3, 2) and bound.x.shape == (3, 1)
    np.testing.assert_array_equal(bound.y[:, 0], TABLE["height"])
    assert bind({"a": [1.0, 2.0]}, plain).y is None
    assert bind({"a": [1.0], "b": [2.0]}, plain, target="b").y.shape == (1,)


def test_a_callable_object_is_bound_by_its_call():
    class Net:
        def __call__(self, x, y=None, offset=0.0):
            """Run."""

    assert list(bind({"t": [1.0], "offset": [2.0]}, Net()).covariates) == ["offset"]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({}, {}, "no column"),
        ({"a": []}, {}, "no row"),
        ({"a": [1.0], "b": [1.0, 2.0]}, {}, "'b' has 2 rows but 'a' has 1"),
        ({"a": [[1.0]]}, {}, "1-D"),
        ({"a": ["red"]}, {}, "not numbers"),
        ({"a": [1.0, np.nan]}, {}, "holds nan in row 1"),
        ({"y": [1.0]}, {}, "no column is left for the inputs"),
        ({"a": [1.0]}, {"target": "b"}, "target 'b' is no column"),
        ({"a": [1.0]}, {"inputs": ["b"]}, "input 'b' is no column"),
    ],
)
def test_bad_tables_are_refused_in_one_line(table, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        bind(table, plain, **options)
    assert "\n" not in str(caught.value)


def test_a_missing_covariate_is_named():
    with pytest.raises(ValueError, match="needs 'weight'"):
        bind({"a": [1.0]}, weighted)


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
