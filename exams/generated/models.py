"""Generated models: what describes one, and the NumPyro model as people write it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from exams.generated.families import FAMILIES

N, GROUPS = 6, 2
SLOPE, SHIFT = -0.5, 0.2
"""The second column's η is SLOPE·η + SHIFT."""

PAST = 0.5
"""Weight of the row before in a series, whose tanh enters so that no series runs away."""

KEPT = np.array([True, False, True, True, False, True])
WEIGHTS = np.linspace(0.5, 1.5, N)
X = np.stack([np.linspace(-1.0, 1.0, N), np.array([0, 1, 1, 0, 1, 0])], axis=1)

SHAPES = (
    "flat",  # law (n,)
    "column",  # law (n, 1), the mean a column
    "event",  # law (n, 1), the column declared an event
    "two columns",  # law (n, 2), the columns declared an event
    "nested",  # law (n, 2) in two plates
    "two sites",  # a site for each column
    "scalar",  # one law for all rows, no plate
    "lag",  # obs=y[1:], the mean depends on y[:-1]
    "scan",  # the same from 0 on, observed in a scan
    "log",  # obs=log(y)
)
TARGETS = ("flat", "column")
PLATES = ("none", "rows", "subsampled", "masked", "scaled")
NAMES = ("y", "obs", "outer/y")
LATENTS = ("w", "f", "x", "draw", "inputs")
KINDS = ("scalar", "vector", "group", "rows")
HYPERS = ("none", "HalfNormal", "Gamma", "LogNormal", "Dirichlet")
DETERMINISTIC = ("none", "f", "f column", "mu")
MISSING = ("none", "entries", "row")
_INDICES = ("Categorical", "OrderedLogistic")
_SERIES, _TWO = ("lag", "scan"), ("two columns", "nested", "two sites")


@dataclass(frozen=True)
class Spec:
    """One model: what is observed, in which shape and plates, under which names, and what is missing."""

    family: str
    shape: str = "flat"
    target: str = "flat"
    plate: str = "none"
    name: str = "y"
    latent: str = "w"
    kind: str = "scalar"
    hyper: str = "none"
    deterministic: str = "none"
    missing: str = "none"

    def __str__(self) -> str:
        """Return the choices, a comma between."""
        return ", ".join(astuple(self))

    @property
    def scoped(self) -> bool:
        """Whether the model runs under a scope, so that the names of its sites have a slash."""
        return "/" in self.name

    @property
    def columns(self) -> int:
        """Number of target columns."""
        return 2 if self.shape in _TWO else FAMILIES[self.family].width

    @property
    def separate(self) -> int:
        """Number of columns with a law each; the entries of an event of dependent ones count as one."""
        return 2 if self.shape in _TWO else 1

    def site(self, name: str) -> str:
        """Return the full name of a site."""
        return f"outer/{name}" if self.scoped else name

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of the observed sites."""
        own = self.name.rpartition("/")[2]
        return (
            tuple(self.site(f"{own}{k}") for k in (1, 2)) if self.shape == "two sites" else (self.site(own),)
        )


def drawn(rng: np.random.Generator, family: str) -> Spec:
    """Return a model that makes sense, its choices drawn at random."""
    pick = lambda among: str(rng.choice(among))  # noqa: E731
    shape = pick(admitted(family))
    spec = Spec(
        family,
        shape,
        pick(TARGETS),
        pick(PLATES),
        pick(NAMES),
        pick(LATENTS),
        pick(KINDS),
        pick(HYPERS),
        pick(DETERMINISTIC),
        # a series with a gap is refused, and that is known: few of them are enough
        "none" if shape in _SERIES and rng.uniform() < 0.7 else pick(MISSING),
    )
    return sensible(spec)


def admitted(family: str) -> tuple[str, ...]:
    """Return the shapes to choose from; what only few families may have is twice among them."""
    if FAMILIES[family].width > 1:
        return ("flat", "scalar")
    few = (*_SERIES, "log")
    if family in _INDICES:  # a real row before is no index
        return tuple(s for s in SHAPES if s not in few)
    return (*SHAPES, *few) if FAMILIES[family].real else SHAPES


def sensible(spec: Spec) -> Spec:
    """Return the model with those choices changed that do not go together."""
    if spec.shape in _SERIES or spec.shape == "scalar":
        spec = replace(spec, plate="none")
    if spec.shape == "scalar":
        spec = replace(spec, kind="scalar")
    if spec.shape == "nested" and spec.plate in ("none", "subsampled"):
        spec = replace(spec, plate="rows")
    if spec.kind == "rows" and spec.plate == "subsampled":
        spec = replace(spec, plate="rows")
    if spec.deterministic.startswith("f") and spec.latent == "f":
        spec = replace(spec, deterministic="mu")
    return spec


def build(spec: Spec) -> Callable[..., Any]:
    """Return the NumPyro model ``model(x, y=None)``."""

    def model(x: Array, y: Array | None = None) -> None:
        eta, s = _predictor(spec, x)
        if spec.deterministic == "mu":
            numpyro.deterministic("mu", eta)
        elif spec.deterministic != "none":
            each = jnp.broadcast_to(eta, (x.shape[0],))
            numpyro.deterministic("f", each[:, None] if spec.deterministic == "f column" else each)
        _observe(spec, eta, s, y)

    return handlers.scope(model, prefix="outer") if spec.scoped else model


def _predictor(spec: Spec, x: Array) -> tuple[Array, Any]:
    """Sample the latent sites; return η, (n,) or () for one law of all rows, and s."""
    name, n = spec.latent, x.shape[0]
    if spec.kind == "vector":
        w = numpyro.sample(name, dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        eta = w[0] + w[1] * x[:, 0]
    elif spec.kind == "group":
        with numpyro.plate("groups", GROUPS):
            a = numpyro.sample(name, dist.Normal(0.0, 1.0))
        eta = a[x[:, 1].astype(int)]
    elif spec.kind == "rows":
        with numpyro.plate("items", n):
            eta = numpyro.sample(name, dist.Normal(0.0, 1.0))
    else:
        w = numpyro.sample(name, dist.Normal(0.0, 1.0))
        eta = w if spec.shape == "scalar" else w * x[:, 0]
    if spec.hyper == "none":
        return eta, 0.8
    if spec.hyper == "Dirichlet":
        p = numpyro.sample("p", dist.Dirichlet(jnp.array([2.0, 3.0])))
        return eta + p[0] - p[1], 0.8
    priors = {
        "HalfNormal": dist.HalfNormal(1.0),
        "Gamma": dist.Gamma(3.0, 3.0),
        "LogNormal": dist.LogNormal(0.0, 0.5),
    }
    s = numpyro.sample("s", priors[spec.hyper])
    return (eta, s) if FAMILIES[spec.family].scaled else (s * eta, 0.8)


def _observe(spec: Spec, eta: Array, s: Any, y: Array | None) -> None:
    """Observe y in the shape and the plates of the description."""
    law, site = FAMILIES[spec.family].law, spec.name.rpartition("/")[2]
    if spec.shape == "lag":
        assert y is not None
        numpyro.sample(site, law(eta[1:] + PAST * jnp.tanh(y[:-1]), s), obs=y[1:])
    elif spec.shape == "scan":

        def step(past: Array, now: tuple[Array, Array | None]) -> tuple[Array, None]:
            value = numpyro.sample(site, law(now[0] + PAST * jnp.tanh(past), s), obs=now[1])
            return value, None

        scan(step, 0.0, (eta, y), length=N)
    elif spec.shape == "two sites":
        with _plates(spec, 1) as rows:
            for k, each in enumerate((eta, SLOPE * eta + SHIFT)):
                seen = None if y is None else y[rows, k]
                numpyro.sample(f"{site}{k + 1}", law(each[rows], s), obs=seen)
    elif spec.shape == "scalar":
        numpyro.sample(site, law(eta, s), obs=y)
    else:
        _observe_rows(spec, site, eta, s, jnp.log(y) if spec.shape == "log" and y is not None else y)


def _observe_rows(spec: Spec, site: str, eta: Array, s: Any, y: Array | None) -> None:
    """Observe y by one site with a law for each row."""
    law = FAMILIES[spec.family].law
    upright = spec.shape in ("column", "nested")
    with contextlib.ExitStack() as stack:
        if spec.shape == "nested":
            stack.enter_context(numpyro.plate("columns", 2, dim=-1))
        rows = stack.enter_context(_plates(spec, 2 if upright else 1))
        each = eta[rows]
        if spec.shape in ("column", "event"):
            each = each[:, None]
        elif spec.shape in ("nested", "two columns"):
            each = jnp.stack([each, SLOPE * each + SHIFT], axis=-1)
        found = law(each, s)
        if spec.shape in ("event", "two columns"):
            found = found.to_event(1)
        numpyro.sample(site, found, obs=None if y is None else y[rows])


@contextlib.contextmanager
def _plates(spec: Spec, dim: int) -> Any:
    """Enter the plate of the rows, its mask or weights; yield the indices of the rows."""
    every = slice(None)
    upright = (slice(None),) + (None,) * (dim - 1)
    if spec.plate == "none":
        yield every
    elif spec.plate == "subsampled":
        with numpyro.plate("rows", N, subsample_size=N // 2, dim=-dim) as rows:
            yield rows
    elif spec.plate == "masked":
        with numpyro.plate("rows", N, dim=-dim), handlers.mask(mask=jnp.asarray(KEPT)[upright]):
            yield every
    elif spec.plate == "scaled":
        with numpyro.plate("rows", N, dim=-dim), handlers.scale(scale=jnp.asarray(WEIGHTS)[upright]):
            yield every
    else:
        with numpyro.plate("rows", N, dim=-dim):
            yield every
