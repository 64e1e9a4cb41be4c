"""Terms of a log-likelihood: of a site, with its scale, and by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import Distribution

from brg_prob.arrays import first_place
from brg_prob.network.centre import bare
from brg_prob.network.rows import NONE


def log_prob(site: Mapping[str, Any]) -> Array:
    """Return the log density of a site's value, entry by entry."""
    return jnp.asarray(site["fn"].log_prob(site["value"]))


def scaled(site: Mapping[str, Any]) -> Array:
    """Return the log density of a site with the scale that the model gives it."""
    return log_prob(site) if site["scale"] is None else site["scale"] * log_prob(site)


def sample_of(site: Mapping[str, Any], key: Array) -> Array:
    """Return a draw of what a site observes, of the shape of its value.

    A law that NumPyro's scan has stacked is drawn from step by step: its parts do not know that they are
    many, and would share one draw.
    """
    if not site.get("scanned"):
        return jnp.asarray(site["fn"].sample(key))
    shape = jnp.shape(site["value"])
    keys = jax.random.split(key, shape[0])
    found = jax.vmap(lambda one, key: jnp.asarray(one.sample(key)))(site["as_written"], keys)
    # a step may believe that it is all of them, and draw for each: any one will do
    for before in reversed(range(found.ndim - len(shape) + 1)):
        one = (slice(None), *[0] * before, *[slice(None)] * (len(shape) - 1))
        if (chosen := found[(*one, *[0] * (found.ndim - len(one)))]).shape == shape:
            return chosen
    law = type(site["as_written"]).__name__
    raise ValueError(
        f"site {site['name']!r} is observed in a scan by {law}, which cannot be drawn from step by step; "
        "observe it outside the scan, or by another distribution"
    )


def is_compound(law: Distribution) -> bool:
    """Return whether a distribution is made of others, as a log-normal is."""
    parts = vars(bare(law)).values()
    return any(isinstance(part, Distribution) for part in parts)


def summed_by_row(terms: Array, rows: NDArray[np.intp], *, n: int) -> Array:
    """Return terms summed by the row that each belongs to, (n,); those of no row are left out.

    Examples
    --------
    >>> summed_by_row(jnp.array([1.0, 2.0, 4.0]), np.array([1, 0, 1]), n=2).tolist()
    [2.0, 5.0]
    """
    if rows.shape[:1] == (n,) and np.array_equal(rows, first_place(rows.shape)):
        return terms.sum(axis=tuple(range(1, terms.ndim)))
    kept = rows.ravel() != NONE
    return jnp.zeros(n, terms.dtype).at[rows.ravel()[kept]].add(jnp.ravel(terms)[kept])
