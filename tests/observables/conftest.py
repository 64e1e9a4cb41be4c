"""A lattice cos-net trained once, with its closed form, and a record's preparation."""

from functools import cached_property
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brg_prob.flow import coarse_grain, default_scales
from brg_prob.geometry import fisher_metric
from brg_prob.posterior import fit
from brg_prob.transform import Standardisation
from models.cosnet import CosNet

BOX, CUTOFF, MASS, NOISE, N, DRAWS = 10.0, 8.0, 1.0, 0.5, 48, 3000
SCALE = 2.5


@pytest.fixture(scope="session")
def preparation():
    """A record in another unit: 2.5 of its own to one of the network's, a line and an offset taken off."""
    return Standardisation(origin=(1950.0,), slope=(0.3,), intercept=(-7.0,), scale=(SCALE,))


class Lattice(SimpleNamespace):
    """What the fixture holds; the flow is made where it is asked for."""

    @cached_property
    def flow(self):
        """Four scales of diffusion."""
        scales = default_scales(float(N), 4)
        return coarse_grain(self.network, self.posterior, self.metric, scales=scales, key=jax.random.key(2))


@pytest.fixture(scope="session")
def lattice():
    """Network, data, posterior, metric, flow of a free scalar on the lattice, and T9's propagators."""
    network = CosNet(box=BOX, cutoff=CUTOFF, mass=MASS, noise=NOISE)
    x = np.arange(N)[:, None] * BOX / N
    rng = np.random.default_rng(0)
    index = np.arange(-12, 13)
    p = 2 * np.pi * index / BOX
    p = p[np.abs(p) <= CUTOFF]

    def propagator(state):
        return 1 / (p**2 + MASS**2 + (state == "posterior") * N / (BOX * NOISE**2))

    covariance = np.cos(p * (x - x.T)[..., None]) @ propagator("prior") / BOX
    y = np.linalg.cholesky(covariance + NOISE**2 * np.eye(N)) @ rng.standard_normal(N)
    # every second input is held out, half a spacing beside the grid
    held_out = (jnp.asarray(x + BOX / N / 2), jnp.asarray(y))
    posterior = fit(network, x, y, key=jax.random.key(1), draws=DRAWS, held_out=held_out)
    metric = fisher_metric(network, x, at=posterior)
    return Lattice(network=network, x=x, y=y, posterior=posterior, metric=metric, p=p, propagator=propagator)
