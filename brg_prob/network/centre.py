"""Where a law of observations is centred: its mean, or its median where it has no mean."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from numpyro.distributions import (
    CategoricalLogits,
    CategoricalProbs,
    Cauchy,
    Distribution,
    ExpandedDistribution,
    HalfCauchy,
    Independent,
    InverseGamma,
    LeftTruncatedDistribution,
    Levy,
    MaskedDistribution,
    MultivariateStudentT,
    Pareto,
    RightTruncatedDistribution,
    StudentT,
    TwoSidedTruncatedDistribution,
)

_SYMMETRIC = Cauchy | StudentT | MultivariateStudentT
"""Median loc, which is the mean wherever there is one: at every number of degrees of freedom."""
_HEAVY = (
    HalfCauchy
    | InverseGamma
    | LeftTruncatedDistribution
    | Levy
    | Pareto
    | RightTruncatedDistribution
    | (TwoSidedTruncatedDistribution)
)
"""Whose mean is infinite at some of their parameters or at all."""


def bare(distribution: Any) -> Any:
    """Return a distribution without plates, masks and declared dimensions."""
    while isinstance(distribution, ExpandedDistribution | Independent | MaskedDistribution):
        distribution = distribution.base_dist
    return distribution


def centre(law: Distribution, rows: int | None = None) -> Array | None:
    """Return the mean of an observation, else its median, else None.

    Parameters
    ----------
    law
        Of a category the mean is that of its indicators. Heavy tails (Cauchy, StudentT, Pareto, …) have a
        mean at some of their parameters only, and are centred at their median at the others.
    rows
        One number stands for so many inputs.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> centre(dist.StudentT(jnp.array([0.5, 3.0]), 2.0)).tolist(), float(centre(dist.HalfCauchy(1.0)))
    ([2.0, 2.0], 1.0)
    """
    try:
        found = _mean(law)
    except NotImplementedError:
        if law.event_dim:
            return None
        try:
            found = _median(law)
        except (ImportError, NotImplementedError):  # NumPyro lacks it, or a package that it needs for it
            return None
    return jnp.broadcast_to(found, (rows,)) if rows is not None and found.ndim == 0 else found


def _mean(law: Distribution) -> Array:
    """Return the mean of a law; the median where a heavy tail has none."""
    inner = bare(law)
    if isinstance(inner, CategoricalProbs | CategoricalLogits):
        return jnp.broadcast_to(inner.probs, law.shape() + inner.probs.shape[-1:])
    if isinstance(inner, _SYMMETRIC):
        return jnp.broadcast_to(inner.loc, law.shape())
    try:
        mean = jnp.asarray(law.mean)
    except ValueError as error:  # a mixture that NumPyro's scan has stacked
        raise NotImplementedError from error
    if not isinstance(inner, _HEAVY):
        return mean
    try:
        median = _median(inner)
    except (ImportError, NotImplementedError):  # NumPyro lacks it, or a package that it needs for it
        return mean
    return jnp.where(jnp.isfinite(mean), mean, jnp.broadcast_to(median, mean.shape))


def _median(law: Distribution) -> Array:
    """Return the median of a law without event dimensions."""
    return jnp.asarray(law.icdf(jnp.full(law.batch_shape, 0.5)))
