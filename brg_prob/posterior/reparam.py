"""Other coordinates for the same latent sites, in which a sampler has an easier task.

A funnel, or any hierarchy with little data, is a hard posterior in its own sites and an easy one
in non-centred form. NumPyro's ``reparam`` handler puts an auxiliary site in the place of each
site and records the original one all the same, so that draws are of the original sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import Distribution
from numpyro.infer.reparam import LocScaleReparam, Reparam
from numpyro.primitives import Messenger

from brg_prob.geometry.transport import (
    NoTransport,
    from_standard_normal,
    standard_normal_shape,
    to_standard_normal,
)
from brg_prob.network import Conditioned
from brg_prob.network.centre import bare

REPARAMS = ("none", "loc_scale", "standard_normal")

_LOC_SCALE: dict[type[Distribution], tuple[str, ...]] = {
    dist.Normal: (),
    dist.Cauchy: (),
    dist.Gumbel: (),
    dist.Laplace: (),
    dist.Logistic: (),
    dist.StudentT: ("df",),
}
"""Location-scale families and the parameters that stay as they are."""

_NORMAL_SUFFIX = "standard_normal"


class StandardNormalReparam(Reparam):
    """Draw z ~ N(0, 1) in place of a site; its value is F⁻¹(Φ(z)) given its parents (T7)."""

    def __call__(self, name: str, fn: Distribution, obs: Any) -> tuple[None, Any]:
        """Return the site's value as a deterministic function of the auxiliary site.

        Raises
        ------
        ValueError
            The site has a value already.
        """
        if obs is not None:
            raise ValueError(f"site {name!r} has a value, so no other site can be drawn in its place")
        shape = standard_normal_shape(fn)
        event = len(shape) - len(fn.batch_shape)
        z = numpyro.sample(f"{name}_{_NORMAL_SUFFIX}", dist.Normal(0.0, 1.0).expand(shape).to_event(event))
        return None, from_standard_normal(fn, z)


def reparams(conditioned: Conditioned, kind: str) -> dict[str, Reparam]:
    """Return the reparameterisation of every latent site that has one.

    Parameters
    ----------
    conditioned
        The model.
    kind
        ``none``; ``loc_scale``, the location and scale of Normal, Cauchy, Gumbel, Laplace, Logistic and
        StudentT sites divided out (the non-centred form), other sites left as they are; or
        ``standard_normal``, every site that has a distribution function in z = Φ⁻¹(F(θ|parents)). Sites
        inside ``scan`` are drawn before NumPyro's handler sees them and are left as they are.
    """
    found: dict[str, Reparam] = {}
    if kind == "none":
        return found
    within = _inside_control_flow(conditioned)
    for site in conditioned.sites.latent:
        if site.name in within:
            continue
        if kind == "loc_scale":
            family = type(bare(site.distribution))
            if family in _LOC_SCALE:
                found[site.name] = LocScaleReparam(0, shape_params=_LOC_SCALE[family])
        elif _has_transport(site.distribution):
            found[site.name] = StandardNormalReparam()
    return found


def reparametrised(model: Callable[..., Any], config: Mapping[str, Reparam]) -> Callable[..., Any]:
    """Return the model with auxiliary sites, or the model itself if there are none."""
    return handlers.reparam(model, config=dict(config)) if config else model


def sampled_names(conditioned: Conditioned, config: Mapping[str, Reparam]) -> dict[str, str]:
    """Return latent site → name of the site that is sampled in its place."""
    return {name: _auxiliary(name, config.get(name)) for name in conditioned.names}


def sampled_values(
    conditioned: Conditioned, config: Mapping[str, Reparam], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of the sampled sites at values of the latent sites of one draw; pure."""
    trace = conditioned.trace(values) if config else {}
    found = {}
    for name in conditioned.names:
        kind, value = config.get(name), values[name]
        if isinstance(kind, LocScaleReparam):
            family = bare(trace[name]["fn"])
            value = (value - family.loc) / family.scale
        elif kind is not None:
            value = to_standard_normal(trace[name]["fn"], value)
        found[_auxiliary(name, kind)] = jnp.asarray(value)
    return found


class _Drawn(Messenger):
    """Collects the latent sites that have a value before any handler could give them one."""

    def __init__(self, fn: Any, names: set[str]) -> None:
        self.names = names
        super().__init__(fn)

    def process_message(self, msg: Any) -> None:
        """Add a site."""
        if msg["type"] == "sample" and not msg["is_observed"] and msg["value"] is not None:
            self.names.add(msg["name"])


def _inside_control_flow(conditioned: Conditioned) -> set[str]:
    """Return the names of latent sites inside ``scan`` or ``cond``; runs nothing."""
    names: set[str] = set()

    def run() -> Array:
        _Drawn(handlers.seed(conditioned.model(), jax.random.key(0)), names)()
        return jnp.zeros(())

    jax.eval_shape(run)
    return names


def _auxiliary(name: str, kind: Reparam | None) -> str:
    """Return the name of the site that is sampled in place of a latent site."""
    if kind is None:
        return name
    return f"{name}_{'decentered' if isinstance(kind, LocScaleReparam) else _NORMAL_SUFFIX}"


def _has_transport(distribution: Distribution) -> bool:
    """Return whether a distribution has a map to the standard normal."""
    try:
        standard_normal_shape(distribution)
    except NoTransport:
        return False
    return True
