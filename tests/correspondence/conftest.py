"""T9's lattice in closed form: surveys whose moments are drawn from their exact laws."""

from types import SimpleNamespace

import numpy as np
import pytest

from brg_prob.correspondence.moments import Moments
from brg_prob.correspondence.momentum_survey import Survey
from brg_prob.correspondence.plane_waves import momentum_modes
from brg_prob.correspondence.predictions import ModePrediction
from brg_prob.erg import FreeTheory
from brg_prob.flow import Diffusion

BOX, N, DRAWS = 10.0, 400, 4000


@pytest.fixture(scope="session")
def lattice():
    """The lattice of T9 (L = 10, Λ = 20, m = 1, σ = .5, n = 400) with twelve scales and a simulator."""
    theory = FreeTheory(dim=1, box=BOX, cutoff=20.0, noise=0.5, mass=1.0)
    x = np.arange(N)[:, None] * BOX / N
    modes = momentum_modes(x, box=BOX, cutoff=theory.cutoff)
    index = np.arange(1, 32)
    momentum = np.concatenate([[0.0], np.repeat(2 * np.pi * index / BOX, 2)])
    observations = tuple(float(t) for t in np.geomspace(N, 1, 12))

    def g0(p=momentum):
        return 1 / (p**2 + 1)

    def propagator(t, p=momentum):
        """T9b, typed here a second time."""
        return 1 / (p**2 + 1 + t / (BOX * 0.25))

    def survey(rng, variances, *, means=None, data=None, scheme=None, scales=observations, draws=DRAWS):
        """A survey of independent draws with given true variances and means, from sufficient statistics."""
        data = np.zeros(momentum.size) if data is None else data
        means = [np.zeros(momentum.size)] * len(scales) if means is None else means
        samples = []
        for variance, mean in zip(variances, means, strict=True):
            s2 = variance * rng.chisquare(draws - 1, variance.size) / (draws - 1)
            centre = mean + np.sqrt(variance / draws) * rng.standard_normal(variance.size)
            largest = np.abs(centre) + 3 * np.sqrt(s2)
            samples.append(Moments(centre, s2, largest, 2.2e-16, 1, draws))
        predicted = ModePrediction(theory, scheme or Diffusion(), float(N))
        return Survey(
            scales=tuple(scales),
            samples=tuple(samples),
            modes=modes,
            prediction=predicted,
            data=data,
            finite=(),
        )

    return SimpleNamespace(
        theory=theory,
        x=x,
        modes=modes,
        momentum=momentum,
        observations=observations,
        g0=g0,
        propagator=propagator,
        survey=survey,
        box=BOX,
        n=N,
        noise=0.5,
    )
