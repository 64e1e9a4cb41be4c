"""What cannot be computed is refused in one line: the value, and the remedy."""

import numpy as np
import pytest

from brg_prob.kernels import explain_singular, kernel_layers, nngp_kernel, ntk_kernel

pytestmark = pytest.mark.usefixtures("own_refusals")

X = np.array([[1.0, 2.0], [0.5, -1.0], [1.0, 2.0], [2.0, 4.0], [0.5, -1.0]])
GOOD = dict(depth=2, activation="relu", weight_variance=2.0, bias_variance=0.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 0}, "depth = 0 must be at least 1"),
        ({"depth": -3}, "depth = -3 must be at least 1"),
        ({"activation": ["relu"] * 3}, "activation has 3 entries but depth = 2"),
        ({"activation": "rleu"}, "did you mean 'relu'"),
        ({"weight_variance": -1.0}, "weight_variance = -1.0 must be finite and not negative"),
        ({"bias_variance": np.nan}, "bias_variance = nan must be finite"),
        ({"weight_variance": [1.0, 2.0]}, "weight_variance has 2 entries but depth = 2: .* depth [+] 1 = 3"),
        ({"bias_variance": [0.0, 0.0, -0.1]}, "bias_variance = -0.1 must"),
        ({"x1": X[0]}, r"x1 has shape \(2,\); inputs are \(n, d\), so use x1\[:, None\]"),
        ({"x1": X[:0]}, r"x1 has shape \(0, 2\)"),
        ({"x1": np.where(X == 4, np.inf, X)}, "x1 is not finite in row 3"),
        ({"x2": X[:, :1]}, "x1 has d = 2 and x2 has d = 1"),
        ({"x2": X, "diagonal": True}, "diagonal=True"),
    ],
)
def test_values_out_of_range_are_refused(changed, message):
    for kernel in (nngp_kernel, ntk_kernel, kernel_layers):
        with pytest.raises(ValueError, match=message) as caught:
            kernel(**{"x1": X, **GOOD, **changed})
        assert "\n" not in str(caught.value)


def test_values_of_another_kind_are_refused():
    for changed, message in (
        ({"depth": 1.5}, "depth = 1.5 must be a whole number"),
        ({"x1": [["a"]]}, "x1 holds <U1"),
        ({"x1": X + 1j}, "x1 holds complex128"),
        ({"weight_variance": "much"}, "weight_variance = 'much' must be a number"),
    ):
        with pytest.raises(TypeError, match=message):
            nngp_kernel(**{"x1": X, **GOOD, **changed})


def test_a_singular_kernel_is_explained():
    k = np.asarray(nngp_kernel(X, **GOOD))
    said = explain_singular(k, X)
    assert said.startswith("inputs 0 and 2 coincide (and 1 more pair): the kernel is singular without noise")
    assert "ridge" in said and "\n" not in said
    assert explain_singular(k) == said  # from the kernel alone
    assert explain_singular(k, X, ridge=0.01) is None
    assert "singular to rounding also with ridge 1e-30" in explain_singular(k, X, ridge=1e-30)
    # without biases ReLU is homogeneous: parallel inputs, none equal
    assert "no inputs coincide, but the rank is 2 of 3" in explain_singular(k[np.ix_([0, 1, 3], [0, 1, 3])])
    zero = np.where(np.arange(5)[:, None] == 4, 0.0, X)[[4, 0]]
    empty = np.asarray(nngp_kernel(np.concatenate([zero, X[:3]]), **GOOD))[:2, :2]
    assert "input 0 has no variance" in explain_singular(empty, zero)
    assert "not finite in row 1" in explain_singular(np.diag([1.0, np.nan]))
    # negative control: different inputs, with biases
    different = np.asarray(nngp_kernel(X, **{**GOOD, "bias_variance": 0.5}))[np.ix_([0, 1, 3], [0, 1, 3])]
    assert explain_singular(different, X[[0, 1, 3]]) is None
