"""What must be found: the law of ONE row at a time, in a Python loop over numbers, and priors, by scipy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy import stats

from exams.generated.families import FAMILIES, Family
from exams.generated.models import GROUPS, KEPT, PAST, SHIFT, SLOPE, WEIGHTS, N, Spec, X

Values = Mapping[str, np.ndarray]

_SCALES: dict[str, Any] = {
    "HalfNormal": stats.halfnorm(),
    "Gamma": stats.gamma(3.0, scale=1 / 3.0),
    "LogNormal": stats.lognorm(0.5),
}
_SIZES = {"scalar": (), "vector": (2,), "group": (GROUPS,), "rows": (N,)}


@dataclass(frozen=True)
class Reference:
    """A model at data, and what must be found of it.

    Attributes
    ----------
    spec
        The model.
    y
        Targets, (n, o); NaN where missing.
    """

    spec: Spec
    y: np.ndarray

    @classmethod
    def drawn(cls, spec: Spec, rng: np.random.Generator) -> Reference:
        """Return the model at data simulated from itself, row by row, some missing."""
        whole = cls(spec, np.zeros((N, spec.columns)))
        values = whole.values(rng)
        y = np.zeros((N, spec.columns))
        for i in range(N):
            found = [
                whole.family.draw(rng, whole.eta(values, i, k, y), whole.s(values))
                for k in range(spec.separate)
            ]
            y[i] = np.exp(found) if spec.shape == "log" else np.ravel(found)
        if spec.missing == "entries":
            y[1, 0] = y[3, -1] = np.nan
        elif spec.missing == "row":
            y[2] = np.nan
        return cls(spec, y)

    @property
    def family(self) -> Family:
        """The family of the observations."""
        return FAMILIES[self.spec.family]

    @property
    def given(self) -> np.ndarray:
        """Targets as they are handed over, (n,) or (n, o)."""
        return self.y[:, 0] if self.spec.target == "flat" and self.y.shape[1] == 1 else self.y

    def values(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return values of the latent sites, not far out in their priors."""
        spec = self.spec
        found = {spec.site(spec.latent): rng.uniform(-0.9, 0.9, _SIZES[spec.kind])}
        if spec.hyper == "Dirichlet":
            found[spec.site("p")] = rng.dirichlet([4.0, 5.0])
        elif spec.hyper != "none":
            found[spec.site("s")] = rng.uniform(0.6, 1.4, ())
        return found

    def s(self, values: Values) -> float:
        """Return the scale s of the law."""
        inferred = self.spec.site("s") in values and self.family.scaled
        return float(values[self.spec.site("s")]) if inferred else 0.8

    def centre(self, values: Values, i: int) -> float:
        """Return η of row i and the first column, of a series without the row before."""
        spec = self.spec
        w = values[spec.site(spec.latent)]
        if spec.kind == "vector":
            eta = float(w[0]) + float(w[1]) * float(X[i, 0])
        elif spec.kind == "group":
            eta = float(w[int(X[i, 1])])
        elif spec.kind == "rows":
            eta = float(w[i])
        else:
            eta = float(w) * (1.0 if spec.shape == "scalar" else float(X[i, 0]))
        if spec.hyper == "Dirichlet":
            p = values[spec.site("p")]
            eta += float(p[0]) - float(p[1])
        elif spec.hyper != "none" and not self.family.scaled:
            eta *= float(values[spec.site("s")])
        return eta

    def eta(self, values: Values, i: int, k: int, y: np.ndarray) -> float:
        """Return η of row i and column k, given the targets before it."""
        eta = self.centre(values, i)
        if self.spec.shape in ("lag", "scan"):
            eta += PAST * float(np.tanh(y[i - 1, 0])) if i else 0.0
        return SLOPE * eta + SHIFT if k else eta

    def counts(self, i: int, k: int) -> bool:
        """Return whether the observation of row i and column k counts."""
        event = self.y[i] if self.spec.separate == 1 else self.y[i, k]
        conditioned_on = self.spec.shape == "lag" and i == 0
        masked = self.spec.plate == "masked" and not KEPT[i]
        return not (np.isnan(event).any() or conditioned_on or masked)

    @property
    def rows(self) -> np.ndarray:
        """Which rows have an observation that counts, (n,)."""
        return np.array([any(self.counts(i, k) for k in range(self.spec.separate)) for i in range(N)])

    @property
    def first(self) -> int:
        """Number of first rows that are conditioned on and not shown: they have no law, and no f."""
        return int(self.spec.shape == "lag" and not (self._registered or self._latent_field))

    @property
    def _registered(self) -> bool:
        """Whether the model registers a deterministic site f."""
        return not self.spec.scoped and self.spec.deterministic.startswith("f")

    @property
    def _latent_field(self) -> bool:
        """Whether a latent site f has an entry for each row."""
        return self.spec.site(self.spec.latent) == "f" and self.spec.kind == "rows"

    @property
    def weights(self) -> np.ndarray:
        """Weight of each row, (n,)."""
        return WEIGHTS if self.spec.plate == "scaled" else np.ones(N)

    def log_likelihood(self, values: Values) -> dict[str, np.ndarray]:
        """Return the log-likelihood of each observed site by row, (n,), in a loop; weights left out."""
        terms = np.zeros((N, self.spec.separate))
        for i in range(N):
            for k in range(self.spec.separate):
                if self.counts(i, k):
                    seen = self.y[i] if self.family.width > 1 else self.y[i, k]
                    seen = np.log(seen) if self.spec.shape == "log" else seen
                    law = (self.eta(values, i, k, self.y), self.s(values))
                    terms[i, k] = float(self.family.logp(seen, *law))
        names = self.spec.observed
        if len(names) == 1:
            return {names[0]: terms.sum(axis=1)}
        return {name: terms[:, k] for k, name in enumerate(names)}

    def log_prior(self, values: Values) -> float:
        """Return the log density of all latent sites."""
        total = float(np.sum(stats.norm.logpdf(values[self.spec.site(self.spec.latent)])))
        if self.spec.hyper == "Dirichlet":
            total += float(stats.dirichlet.logpdf(values[self.spec.site("p")], [2.0, 3.0]))
        elif self.spec.hyper != "none":
            total += float(_SCALES[self.spec.hyper].logpdf(values[self.spec.site("s")]))
        return total

    def field(self, values: Values) -> np.ndarray:
        """Return the field, (n, …): site f where the model has one, else the mean of the law of each row."""
        spec = self.spec
        if self._registered:
            return np.array([[self.centre(values, i)] for i in range(N)])
        if self._latent_field:
            return values["f"][:, None]
        s = self.s(values)
        return np.array(
            [
                np.concatenate(
                    [
                        np.ravel(self.family.mean(self.eta(values, i, k, np.nan_to_num(self.y)), s))
                        for k in range(spec.separate)
                    ]
                )
                for i in range(N)
            ]
        )

    @cached_property
    def transport(self) -> bool:
        """Whether each latent scalar has a prior of its own, so that z is known but for its sign."""
        return self.spec.hyper != "Dirichlet"

    def information(self, values: Values) -> float:
        """Return trace I(z)·n: expected squares of scores along z, integrated over each row's own y."""
        total = 0.0
        for site, value in values.items():
            for index in np.ndindex(value.shape):
                per_z = self._along(site, float(value[index]))
                for i, k in np.ndindex(N, self.spec.separate):
                    if self.counts(i, k):
                        step = partial(_moved, values, site, index)
                        total += self.weights[i] * per_z**2 * self._expected(step, values, i, k)
        return total

    def _along(self, site: str, value: float) -> float:
        """Return dθ/dz of a latent scalar: z is the normal quantile of its prior probability."""
        prior = stats.norm() if site == self.spec.site(self.spec.latent) else _SCALES[self.spec.hyper]
        return float(stats.norm.pdf(stats.norm.ppf(prior.cdf(value))) / prior.pdf(value))

    def _expected(self, moved: Callable[[float], Values], values: Values, i: int, k: int) -> float:
        """Return the expected square of one row's score along one latent scalar: central differences."""
        law = [(self.eta(v, i, k, self.y), self.s(v)) for v in (values, moved(_STEP), moved(-_STEP))]
        y, weight = self.family.nodes(*law[0])
        with np.errstate(all="ignore"):
            logp, up, down = (self.family.logp(y, *each) for each in law)
            terms = weight * np.exp(logp) * ((up - down) / (2 * _STEP)) ** 2
        return float(np.sum(terms[np.isfinite(terms)]))


_STEP = 1e-4


def _moved(values: Values, site: str, index: tuple[int, ...], step: float) -> Values:
    """Return the values with one entry moved."""
    value = np.array(values[site], float)
    value[index] += step
    return {**values, site: value}
