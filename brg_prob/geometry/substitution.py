"""Running a model with each latent site at what a coordinate of it says, given its parents at that moment.

Sites inside NumPyro's ``scan`` take the coordinate of their step, so that a state-space model runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jax import Array
from numpyro import handlers
from numpyro.distributions import Distribution

from brg_prob.geometry.univariate import NoTransport

_STEP = "_scan_current_index"  # NumPyro tells its own unconstrained messenger the step by this


class FromCoordinates(handlers.substitute):
    """Run a model with latent sites at values computed from coordinates.

    Parameters
    ----------
    fn
        The model.
    coordinates
        Site → coordinate; of a site inside ``scan`` with an axis of steps first.
    value_of
        (distribution given its parents, coordinate) → value.
    differentiated
        Whether only derivatives are looked for: then a map without one is reported.

    Raises
    ------
    NoTransport
        A latent site inside a ``scan`` that runs backwards, whose steps NumPyro stores in another order than
        it reads them; or a map without derivative. Names the site.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        coordinates: Mapping[str, Any],
        value_of: Callable[[Distribution, Any], Array],
        *,
        differentiated: bool = False,
    ) -> None:
        self.coordinates, self.value_of, self.differentiated = coordinates, value_of, differentiated
        super().__init__(fn, substitute_fn=self._value)

    def process_message(self, msg: Any) -> None:
        """Set the value of a latent site; plates and masks inside have already shaped its distribution."""
        if msg["type"] == "control_flow" and len(msg["args"]) > 4 and msg["args"][4] is True:
            msg["kwargs"]["substitute_stack"].append(("substitute", self._backwards))
            return
        if msg["type"] == "sample" and msg["value"] is not None:
            return
        super().process_message(msg)

    def _latent(self, site: Any) -> bool:
        return site["type"] == "sample" and not site["is_observed"] and site["name"] in self.coordinates

    def _backwards(self, site: Any) -> None:
        if self._latent(site):
            raise NoTransport(
                f"site {site['name']!r} is latent inside a scan that runs backwards: it has no map to a "
                "standard normal; turn the series round instead of reverse=True"
            )

    def _value(self, site: Any) -> Array | None:
        """Return the value of a latent site, None of any other."""
        if not self._latent(site):
            return None
        distribution, coordinate = site["fn"], self.coordinates[site["name"]]
        extra = tuple(site["kwargs"].get("sample_shape") or ())
        if extra:
            distribution = distribution.expand(extra + distribution.batch_shape)
        step = site["infer"].get(_STEP)
        coordinate = coordinate if step is None else coordinate[step]
        if not self.differentiated:
            return self.value_of(distribution, coordinate)
        try:
            return self.value_of(distribution, coordinate)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise without_derivative(site["name"], distribution, error) from None


def without_derivative(name: str, distribution: Distribution, error: Exception) -> NoTransport:
    """Return the error for a site whose map JAX cannot differentiate by the site's parents."""
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    said = str(error).partition("\n")[0].rstrip(".")
    return NoTransport(
        f"site {name!r}: the distribution function of {type(distribution).__name__} has no derivative with "
        f"respect to its parents ({said})"
    )


__all__ = ["FromCoordinates", "without_derivative"]
