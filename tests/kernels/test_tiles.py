"""Tiles give the same numbers, within a limit that is kept."""

import jax
import numpy as np
import pytest

from brg_prob.kernels import nngp_kernel, ntk_kernel
from brg_prob.kernels.checked_options import checked_options
from brg_prob.kernels.tiles import _fitting_tile

X = np.random.default_rng(0).standard_normal((150, 3))
NETWORK = dict(depth=2, activation="relu", weight_variance=1.8, bias_variance=0.1)


def test_tiles_give_the_whole():
    whole = np.asarray(ntk_kernel(X, **NETWORK))
    tiled = ntk_kernel(X, memory_limit=100_000, **NETWORK)
    assert isinstance(tiled, np.ndarray)
    np.testing.assert_allclose(tiled, whole, rtol=1e-13)
    np.testing.assert_array_equal(tiled, tiled.T)
    cross = ntk_kernel(X, X[:70], memory_limit=100_000, **NETWORK)
    # a pair that coincides is not known to: its angle, and Θ with it, keeps half of the digits only
    np.testing.assert_allclose(cross, whole[:, :70], rtol=1e-7)
    different = ~np.eye(150, 70, dtype=bool)
    np.testing.assert_allclose(cross[different], whole[:, :70][different], rtol=1e-12)


def test_tiles_fill_a_file(tmp_path):
    out = np.memmap(tmp_path / "kernel", dtype=np.float64, mode="w+", shape=(150, 150))
    assert nngp_kernel(X, memory_limit=100_000, out=out, **NETWORK) is out
    np.testing.assert_allclose(out, nngp_kernel(X, **NETWORK), rtol=1e-13)


def test_the_compiler_says_that_a_tile_fits():
    options = checked_options(2, "relu", 1.8, 0.1, np.float64)
    limit = 300_000
    (down, across), tile = _fitting_tile((5000, 300), False, 3, np.dtype(float), options, True, limit)
    memory = tile.memory_analysis()
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes <= limit
    assert down * across * 8 > limit / 40  # nor is the limit left unused


def test_limits_and_arrays_that_cannot_be_are_refused(own_refusals):
    with pytest.raises(ValueError, match="memory_limit = 100 bytes holds no tile of 15 × 15: give at least"):
        nngp_kernel(X, memory_limit=100, **NETWORK)
    with pytest.raises(ValueError, match="memory_limit = -1 must be a positive number"):
        nngp_kernel(X, memory_limit=-1, **NETWORK)
    with pytest.raises(ValueError, match=r"out has shape \(3, 3\)"):
        nngp_kernel(X, out=np.empty((3, 3)), **NETWORK)
    with pytest.raises(TypeError, match="out is list"):
        nngp_kernel(X, out=[], **NETWORK)
    with pytest.raises(TypeError, match="not for jit or grad"):
        jax.jit(lambda x: nngp_kernel(x, memory_limit=1e6, **NETWORK))(X)
