"""What is checked of a generated model, each against its reference."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer.util import log_density

from brg_prob.geometry.site_metric import site_metric
from brg_prob.network import Conditioned
from brg_prob.posterior.model_tree import model_tree, site_values
from brg_prob.results import FIELD_VARIABLE, key_to_json, stored_name
from exams.generated.models import X, build
from exams.generated.reference import Reference, Values

Reader = Callable[[Any, Any, Any], Conditioned]
DRAWS = 4
_CLOSE = 1e-6  # jax's betaln, and with it NumPyro's negative binomial, is right to 2e-7


def complaints(
    reference: Reference,
    rng: np.random.Generator,
    *,
    metric: bool,
    tree: bool = True,
    reader: Reader = Conditioned.of,
) -> list[str]:
    """Return what is wrong with the reading of a model, a phrase each; none if all is as it must be.

    Parameters
    ----------
    reference
        The model at its data.
    rng
        Draws the point, and the draws of the tree.
    metric
        Whether the Fisher metric is compared as well, which takes longer than all the rest.
    tree
        Whether a tree is drawn, written and read.
    reader
        (model, x, y) → the reading.

    Raises
    ------
    ValueError
        The model is refused.
    """
    draws = [reference.values(rng) for _ in range(DRAWS)]
    conditioned = reader(build(reference.spec), X, reference.given)
    found = [
        *_rows(reference, conditioned, draws[0]),
        *_tempered(reference, conditioned, draws[0]),
        *_field(reference, conditioned, draws[0]),
    ]
    if metric:
        found += _metric(reference, conditioned, draws[0])
    if tree:
        found += _tree(reference, conditioned, draws)
    return found


def _differs(found: Any, expected: Any, tolerance: float = _CLOSE) -> bool:
    """Return whether arrays differ in shape, or beyond round-off."""
    found, expected = np.asarray(found), np.asarray(expected)
    return found.shape != expected.shape or not np.allclose(found, expected, rtol=tolerance, atol=tolerance)


def _rows(reference: Reference, conditioned: Conditioned, values: Values) -> Iterator[str]:
    """Yield what is wrong with the log-likelihood by row and with the number of rows."""
    terms = conditioned.log_likelihood(values)
    for name, expected in reference.log_likelihood(values).items():
        if name not in terms:
            yield f"site {name!r} is not observed"
        elif _differs(terms[name], expected[reference.first :]):
            yield f"log-likelihood of {name!r}: {np.asarray(terms[name])} for {expected}"
    if conditioned.n != reference.rows.sum():
        yield f"n = {conditioned.n} for {reference.rows.sum()}"
    if not np.array_equal(conditioned.observed, reference.rows):
        yield f"rows that count: {conditioned.observed} for {reference.rows}"


def _tempered(reference: Reference, conditioned: Conditioned, values: Values) -> Iterator[str]:
    """Yield what is wrong with the density at T of n observations."""
    n = int(reference.rows.sum())
    likelihood = sum(float(reference.weights @ terms) for terms in reference.log_likelihood(values).values())
    latent = {name: jnp.asarray(value) for name, value in values.items()}
    density = jax.jit(lambda observations: log_density(conditioned.tempered(observations), (), {}, latent)[0])
    for observations in (0.0, n / 2, float(n)):
        expected = reference.log_prior(values) + observations / n * likelihood
        found = float(density(observations))
        if _differs(found, expected):
            yield f"log density at T = {observations:g}: {found} for {expected}"


def _field(reference: Reference, conditioned: Conditioned, values: Values) -> Iterator[str]:
    """Yield what is wrong with the field."""
    found, expected = np.asarray(conditioned.field(values)), reference.field(values)[reference.first :]
    if found.shape[:1] != expected.shape[:1]:
        yield f"field of shape {found.shape}"
    elif _differs(found.reshape(expected.shape), expected):
        yield f"field: {found.tolist()} for {expected.tolist()}"


def _metric(reference: Reference, conditioned: Conditioned, values: Values) -> Iterator[str]:
    """Yield what is wrong with n times the trace of the Fisher metric."""
    metric = site_metric(conditioned, at=values)
    if not (reference.transport and metric.coordinate == "standard normal"):
        return
    n = int(reference.rows.sum())
    found, expected = n * float(np.sum(metric.diagonal)), reference.information(values)
    allowed = 1e-4 * expected
    if not reference.family.closed and metric.diagonal_error is not None:
        allowed += 5 * n * float(np.sum(metric.diagonal_error))
    if not abs(found - expected) <= allowed:
        yield f"n tr I = {found} for {expected}"


def _tree(reference: Reference, conditioned: Conditioned, draws: list[Values]) -> Iterator[str]:
    """Yield what is wrong with the tree of these draws, written and read again."""
    n = int(reference.rows.sum())
    attrs = {
        "engine": "given",
        "observations": float(n),
        "independent": 0,
        "key": key_to_json(jax.random.key(3)),
    }
    stacked = {name: np.stack([one[name] for one in draws])[None] for name in draws[0]}
    made = model_tree(conditioned, stacked, attrs=attrs)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "draws.nc"
        made.to_netcdf(path, engine="h5netcdf")
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            read = opened.load()
    if set(site_values(read)) != set(draws[0]):
        yield f"sites of the tree: {sorted(site_values(read))}"
    for name, value in site_values(read).items():
        if not np.array_equal(value, stacked.get(name)):
            yield f"draws of {name!r} are others after reading"
    for name in reference.spec.observed:
        variable = read["log_likelihood"][stored_name(name)]
        expected = [reference.log_likelihood(one)[name][reference.first :] for one in draws]
        if variable.dims != ("chain", "draw", "x"):
            yield f"log_likelihood of {name!r} has dimensions {variable.dims}"
        elif _differs(variable.values[0], expected):
            yield f"log_likelihood of {name!r} in the tree: {variable.values[0].tolist()}"
    field = read["posterior"][str(read.attrs[FIELD_VARIABLE])]
    expected = np.stack([reference.field(one)[reference.first :] for one in draws])
    if field.shape[2:3] != expected.shape[1:2] or _differs(field.values[0].reshape(expected.shape), expected):
        yield f"field in the tree: {field.dims} {field.shape}"
