"""The dry run before the long one: whatever would fail later is refused now, on the model's real shapes.

Nothing long is computed. Where it can be, a step is only traced (``jax.eval_shape``): shapes and types are
those of the run, numbers are not needed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import log_density

from brg_prob.geometry.coordinates import NoTransport, StandardNormalCoordinates
from brg_prob.geometry.derivatives import no_forward_mode, no_reverse_mode
from brg_prob.geometry.jacobian import ScoreJacobian
from brg_prob.geometry.site_metric import coordinates_of, is_small, no_metric
from brg_prob.network import Conditioned
from brg_prob.network.targets import line_of
from brg_prob.posterior.engine import Chains, Engine, ModelEngine
from brg_prob.posterior.model_tree import traced_draw


@dataclass(frozen=True)
class Rehearsed:
    """What a dry run found.

    Attributes
    ----------
    no_metric
        Why the model has no Fisher metric; empty if it has one.
    no_transport
        Why its prior has no map to N(0, 1); empty if it has one.
    small
        Whether all eigenvalues of its metric are computed.
    said
        What was read of the model, a sentence each.
    """

    no_metric: str = ""
    no_transport: str = ""
    small: bool = True
    said: tuple[str, ...] = ()

    @property
    def no_diffusion(self) -> str:
        """Why draws cannot be flowed by diffusion or a shell; empty if they can."""
        return self.no_transport or self.no_metric

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read of the model, and what cannot be done, a sentence each."""
        cannot = (f"diffusion cannot be done: {self.no_diffusion}",) if self.no_diffusion else ()
        return (*self.said, *cannot)


def rehearse(
    conditioned: Any,
    engine: Engine,
    *,
    draws: int,
    held_out: tuple[Any, Any] | None = None,
) -> Rehearsed:
    """Try every step of a run of any model at one draw of its prior.

    Parameters
    ----------
    conditioned
        The model at its data; a readout, which is fitted in closed form, has nothing to rehearse.
    engine, draws, held_out
        Those of the run.

    Raises
    ------
    ValueError
        One line: what cannot be done with this model, which site or option it is, and the remedy.
    """
    if not isinstance(engine, ModelEngine):
        return Rehearsed()
    if isinstance(engine, Chains):
        engine.per_chain(draws)
    places = [conditioned] if held_out is None else [conditioned, conditioned.at(*held_out)]
    for place in places:
        _try("evaluated at a draw", partial(_draw, place, draws))
    _try("differentiated", lambda: _derivative(conditioned, forward=getattr(engine, "forward_mode", False)))
    without = no_metric(conditioned)
    found = Rehearsed(without, _no_transport(conditioned), said=tuple(conditioned.reading.notes))
    if without:
        return found
    small = _try("given a Fisher metric", lambda: _metric(conditioned))
    return dataclasses.replace(found, small=small)


def _draw(conditioned: Conditioned, draws: int) -> None:
    """Trace what is stored of a draw, and refuse more draws than fit into memory."""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(traced_draw(conditioned)))
    if not hasattr(os, "sysconf"):  # Windows does not say
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size += 8 * conditioned.sites.parameters
    if draws * size > memory:
        raise ValueError(
            f"{draws} draws of {size / 1e6:.3g} MB each ({conditioned.sites.parameters} parameters) do not "
            f"fit into {memory / 1e9:.3g} GB of memory; at most {max(1, memory // (2 * size))} in --draws do"
        )


def _metric(conditioned: Conditioned) -> bool:
    """Trace the products that a Fisher metric is made of; return whether all eigenvalues are computed."""
    key = jax.random.key(0)
    coordinates, _ = coordinates_of(conditioned, key=key)
    kept = jnp.arange(coordinates.dimension)
    jacobian = ScoreJacobian(conditioned, coordinates, kept, "auto", 1, key)
    dense = is_small(jacobian.rows, jacobian.columns)

    def products(point: Array) -> Any:
        if dense:
            return jacobian.matrix(point[None])
        push, pull = jacobian.products(point[None])
        return push(point), pull(jnp.zeros(jacobian.rows, point.dtype))

    jax.eval_shape(products, jax.ShapeDtypeStruct((coordinates.dimension,), jnp.result_type(float)))
    return dense


def _derivative(conditioned: Conditioned, *, forward: bool) -> None:
    """Trace the derivative of the log density that a sampler takes.

    Raises
    ------
    ValueError
        It has none, or only the other kind.
    """
    point = {name: jnp.asarray(value, float) for name, value in conditioned.reading.point.items()}
    model = conditioned.model()

    def density(values: dict[str, Array]) -> Array:
        return log_density(model, (), {}, values)[0]

    asked, other = (no_forward_mode, no_reverse_mode) if forward else (no_reverse_mode, no_forward_mode)
    flat, unravel = ravel_pytree(point)
    reason = asked(lambda at: density(unravel(at)), flat)
    if reason is not None:
        kinds = ("forward", "reverse") if forward else ("reverse", "forward")
        way = f"use --engine nuts --engine.forward_mode {str(not forward).lower()}"
        if other(lambda at: density(unravel(at)), flat) is not None:
            way = "write the likelihood with functions that have derivatives"
        raise ValueError(f"the log density has no {kinds[0]} derivative ({reason}); {way}")


def _no_transport(conditioned: Conditioned) -> str:
    """Return why the prior has no map to N(0, 1)."""
    if conditioned.prior_factors:
        return f"the prior has the factor {conditioned.prior_factors[0]!r}, so no map to N(0, 1) is known"
    try:
        StandardNormalCoordinates(conditioned.whole, conditioned.x, conditioned.y)
    except NoTransport as reason:
        return str(reason).partition(";")[0]
    return ""


def _try(what: str, step: Callable[[], Any]) -> Any:
    """Run one step and return what it does; an error of the model's own code, or of JAX, becomes one line."""
    try:
        return step()
    except ValueError:
        raise
    except Exception as error:  # whatever the model or JAX raise would end the run later
        said = " ".join(str(error).partition("\n")[0].split())[:300].rstrip(".")
        raise ValueError(
            f"the model cannot be {what}{line_of(error)}: {type(error).__name__}{': ' * bool(said)}{said}; "
            "change it there"
        ) from error
