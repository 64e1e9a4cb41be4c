"""Chains of a lattice cos-net against the exact renormalization group: are their p-values uniform?

The chains have T9's posterior for their law, so that the hypothesis holds at every scale, and are as short as
a verdict admits. They take the way of any model's draws: a posterior tree, a metric over all sites,
diffusion, :func:`brg_prob.check_correspondence`. So do draws of NUTS and of Laplace. A mass wrong by a tenth
must be rejected, and chains called independent must be found out.

Two hundred seeds tell 5 % from 11 %. Measured once with more, at T = n: of 2520 parts of NUTS the trained
mean is rejected in 6.2 % (5 % has p = .006), of 4000 antithetic chains with ρ = −.4 in 5.8 % (p = .02), with
ρ = .5 in 5.3 %; the propagator in 4.8 % of 1200 parts of NUTS.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr
from scipy import signal, stats

BOX, N, CUTOFF, MASS, NOISE = 10.0, 32, 4.0, 1.0, 0.3
SCALES = (float(N), 4.0, 0.5, 0.05)
"""T at which T9 is tested: a mass shows the better the less the data drown it."""
CHAINS = 4
CHECKS = ("propagator", "trained mean")
"""The checks with a p-value that make the verdict."""
LEVEL = 0.05
WRONG = 1.1
"""A mass too large by this factor must be rejected,"""
POWER = 0.9
"""by the propagator's check (that of the Fisher spectrum needs no draws), in this part of the seeds."""
_ADMITTED_ESS, _ADMITTED_R_HAT = 400.0, 1.01


@dataclass(frozen=True, eq=False)
class Lattice:
    """A cos-net on a periodic lattice with data, and its posterior by T9, which is typed here anew."""

    network: Any
    x: np.ndarray
    y: np.ndarray

    @cached_property
    def waves(self) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, P), the constant, then cosine and sine by momentum; and G0 of each weight, (P,)."""
        count = int(CUTOFF * BOX / (2 * np.pi))
        momentum = 2 * np.pi / BOX * np.arange(1, count + 1)
        phase = self.x * momentum[None, :]
        pairs = np.stack([np.cos(phase), np.sin(phase)], axis=2).reshape(N, 2 * count)
        density = 1 / (np.concatenate([[0.0], np.repeat(momentum, 2)]) ** 2 + MASS**2)
        return np.hstack([np.ones((N, 1)), np.sqrt(2) * pairs]) * np.sqrt(density / BOX), density

    @cached_property
    def posterior(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each weight given the data, (P,): Σ φ² = n G0/L on a full grid."""
        features, density = self.waves
        variance = 1 / (1 + N * density / (BOX * NOISE**2))
        return variance * (features.T @ self.y) / NOISE**2, np.sqrt(variance)

    @cached_property
    def metric(self) -> Any:
        """The Fisher metric over all sites."""
        import brg_prob

        at = {"readout": self.posterior[0]}
        return brg_prob.fisher_metric(self.network, self.x, y=self.y, at=at)


@lru_cache(maxsize=1)
def lattice() -> Lattice:
    """Return the lattice with data drawn from it: the same for all seeds, for the laws are given the data."""
    import brg_prob
    from models.cosnet import CosNet

    brg_prob.enable_x64()
    network = CosNet(box=BOX, cutoff=CUTOFF, mass=MASS, noise=NOISE)
    bare = Lattice(network, np.arange(N)[:, None] * (BOX / N), np.zeros(N))
    features, rng = bare.waves[0], np.random.default_rng(1)
    y = features @ rng.standard_normal(features.shape[1]) + NOISE * rng.standard_normal(N)
    return dataclasses.replace(bare, y=y)


@dataclass(frozen=True)
class Chains:
    """Stationary Gaussian chains with T9's posterior for their law.

    Attributes
    ----------
    first, last
        Autocorrelation at lag one of the constant and of the largest momentum; in between it runs evenly.
    draws
        Length of a chain, such that the smallest ESS of all modes, scales and checks is near 400.
    """

    first: float
    last: float
    draws: int

    def weights(self, rng: np.random.Generator) -> np.ndarray:
        """Return draws of the weights, (chain, draw, P)."""
        mean, spread = lattice().posterior
        z = rng.standard_normal((CHAINS, self.draws, mean.size))
        for mode, rho in enumerate(np.linspace(self.first, self.last, mean.size)):
            z[:, 1:, mode] *= np.sqrt(1 - rho**2)
            z[..., mode] = signal.lfilter([1.0], [1.0, -rho], z[..., mode], axis=1)
        return mean + spread * z

    def trees(self, seed: int, *, independent: bool = False) -> Iterator[xr.DataTree]:
        """Yield trees with a group ``posterior``, one per seed, without end."""
        rng = np.random.default_rng([seed, self.draws])
        while True:
            draws = {"readout": (("chain", "draw", "k"), self.weights(rng))}
            yield _tree(xr.Dataset(draws), independent=independent)


@dataclass(frozen=True)
class Engine:
    """Draws of an engine: each run is cut into parts, which are cheaper than as many runs.

    Attributes
    ----------
    name
        In :mod:`brg_prob`.
    draws
        Of each chain in a part.
    parts
        Of a run.
    apart
        Draws of each chain that are left out between parts, which are then independent of each other.
    """

    name: str
    draws: int
    parts: int = 10
    apart: int = 10

    def trees(self, seed: int) -> Iterator[xr.DataTree]:
        """Yield trees with a group ``posterior``, one per part, without end."""
        import jax

        import brg_prob

        engine, number = getattr(brg_prob, self.name)(), 0
        step = self.draws + self.apart
        while True:
            jax.clear_caches()  # every run compiles its own programs, and a process has room for a hundred
            key = jax.random.fold_in(jax.random.key(seed), number)
            tree = brg_prob.fit(
                lattice().network, lattice().x, lattice().y, engine=engine, key=key, draws=self._size()
            )
            draws = tree["posterior"].to_dataset()[["readout"]]
            chains = 1 if draws.sizes["chain"] == 1 else CHAINS
            for part in range(self.parts):
                cut = slice(part * step * CHAINS // chains, None)
                found = draws.isel(draw=cut).isel(draw=slice(self.draws * CHAINS // chains))
                yield _tree(found, independent=bool(tree.attrs["independent"]))
            number += 1

    def _size(self) -> int:
        """Return the number of draws of a run."""
        return CHAINS * self.parts * (self.draws + self.apart)


def _tree(draws: xr.Dataset, *, independent: bool) -> xr.DataTree:
    """Return a tree that the engine ``given`` takes."""
    tree = xr.DataTree.from_dict({"posterior": draws})
    tree.attrs["independent"] = int(independent)
    return tree


SOURCES: dict[str, Chains | Engine] = {
    "chains, ρ = .5": Chains(0.5, 0.5, 380),
    "chains, ρ = −.5": Chains(-0.5, -0.5, 215),
    "chains, ρ = .7 … −.6": Chains(0.7, -0.6, 580),
    "NUTS": Engine("NUTS", 360),
    "Laplace": Engine("Laplace", 250),
}
_CONTROL = "chains, ρ = .5"


@dataclass(frozen=True)
class Found:
    """What was found of the draws of R seeds.

    Attributes
    ----------
    p_values
        By check and scale, (R, 2, scales).
    joint
        Holm's p-value of each check, (R, 2).
    inconsistent
        Whether the verdict is, (R,).
    ess, r_hat
        The smallest ESS of each check, (R, 2), and the largest R-hat, (R,), that a verdict uses.
    wrong
        Whether the propagator of a wrong mass is rejected, (R,).
    """

    p_values: np.ndarray
    joint: np.ndarray
    inconsistent: np.ndarray
    ess: np.ndarray
    r_hat: np.ndarray
    wrong: np.ndarray

    @property
    def admitted(self) -> int:
        """Number of seeds whose ESS and R-hat a verdict admits."""
        return int(np.sum((self.ess.min(axis=1) > _ADMITTED_ESS) & (self.r_hat < _ADMITTED_R_HAT)))


def found(
    trees: Iterator[xr.DataTree],
    seeds: int,
    *,
    key: Any,
    wrong: bool = True,
    scales: tuple[float, ...] = SCALES,
) -> Found:
    """Hold the draws of each seed against the right mass and, if asked, a wrong one, the public way."""
    import jax

    import brg_prob

    system, rows = lattice(), []
    other = brg_prob.erg_prediction(dataclasses.replace(system.network, mass=WRONG * MASS), system.x)
    for number, tree in enumerate(islice(trees, seeds)):
        fit_key, flow_key = jax.random.split(jax.random.fold_in(key, number))
        given = brg_prob.Given(tree=tree)
        posterior = brg_prob.fit(system.network, system.x, system.y, engine=given, key=fit_key)
        flow = brg_prob.coarse_grain(system.network, posterior, system.metric, scales=scales, key=flow_key)
        right = brg_prob.check_correspondence(flow, brg_prob.ExactRG())
        rejected = False
        if wrong:
            checks = brg_prob.check_correspondence(flow, brg_prob.ExactRG(other)).checks
            rejected = named(checks, CHECKS[0]).verdict == "inconsistent"
        checks = [named(right.checks, name) for name in CHECKS]
        ess, r_hat = zip(*(_sizes(check) for check in checks), strict=True)
        p_values = [check.scale_p_values for check in checks], [check.p_value for check in checks]
        rows.append((*p_values, right.verdict == "inconsistent", ess, max(r_hat), rejected))
    return Found(*(np.array(column) for column in zip(*rows, strict=True)))


def named(checks: Sequence[Any], name: str) -> Any:
    """Return the check of a name."""
    return next(check for check in checks if check.name == name)


def _sizes(check: Any) -> tuple[float, float]:
    """Return the smallest ESS and the largest R-hat that a check says it used."""
    if said := re.search(r"\(ESS ≥ (\d+), R-hat ≤ ([\d.]+)\)", check.detail):
        return float(said[1]), float(said[2])
    return float(re.search(r"(\d+) independent draws", check.detail)[1]), 1.0


@dataclass(frozen=True)
class Uniform:
    """Whether p-values are uniform, or (of a conservative test) no smaller than uniform ones.

    Attributes
    ----------
    rejected, seeds
        Number of p-values up to .05, and of all.
    by_rate, by_law
        p-value of that number (binomial), and of the distance of Kolmogorov and Smirnov.
    """

    rejected: int
    seeds: int
    by_rate: float
    by_law: float

    @classmethod
    def of(cls, p: np.ndarray, *, conservative: bool = False) -> Uniform:
        """Return the tests of p-values (R,)."""
        count = int(np.sum(p <= LEVEL))
        rate = stats.binomtest(count, p.size, LEVEL, "greater" if conservative else "two-sided")
        law = stats.kstest(p, "uniform", alternative="greater" if conservative else "two-sided")
        return cls(count, p.size, float(rate.pvalue), float(law.pvalue))

    @property
    def holds(self) -> bool:
        """Whether neither is rejected, at a level that all tests of an exam share (Bonferroni)."""
        return min(self.by_rate, self.by_law) > LEVEL / _TESTS


HEAD = ("draws", "check", "T", "rejected", "p, rate", "p, Kolmogorov–Smirnov", "outcome")
_SEEDS = 200
_TESTS = 2 * (len(SOURCES) + 1) * len(CHECKS) * (len(SCALES) + 1)
"""Of uniformity, by rate and by law: of each source and of all chains, each check, each scale and jointly."""
ASKS = (
    f"A lattice cos-net (L = {BOX:g}, Λ = {CUTOFF:g}, m = {MASS:g}, σ = {NOISE:g}, n = {N}) held against T9 "
    f"at T = {', '.join(f'{t:g}' for t in SCALES)}. Where the hypothesis holds p-values are uniform, "
    f"in their rate up to {LEVEL:g} and by the test of Kolmogorov and Smirnov; jointly, by Holm over scales "
    "that share their draws and so conservative, they are no smaller than uniform ones. All these tests of "
    "uniformity "
    f"share a level of {LEVEL:g}: each must have p > {LEVEL / _TESTS:.1g}, so that of {_SEEDS} seeds "
    f"{int(stats.binom.isf(LEVEL / _TESTS / 2, _SEEDS, LEVEL)) + 1} rejections and more fail. A mass "
    f"{WRONG:g} times as large is rejected by the propagator in at least {100 * POWER:g} % of the seeds. "
    "Chains called independent are found out. (How many seeds the demands on ESS and R-hat admit to a "
    "verdict counts for nothing here.)"
)


def exam(seed: int, small: bool) -> list[tuple[str, ...]]:
    """Return rows for each source of draws, for all chains together, and for the control."""
    import jax

    seeds, rows, chains = 20 if small else _SEEDS, [], []
    for number, (name, source) in enumerate(SOURCES.items()):
        draws = found(source.trees(seed), seeds, key=jax.random.fold_in(jax.random.key(seed), number))
        rows += table(name, draws)
        chains += [draws] if np.any(draws.r_hat > 1) else []
    rows += uniform("all chains", *(np.concatenate(p) for p in zip(*map(_p_values, chains), strict=True)))
    trees = SOURCES[_CONTROL].trees(seed, independent=True)
    draws = found(trees, max(seeds // 4, 20), key=jax.random.key(seed), wrong=False)
    return rows + control(f"{_CONTROL}, called independent", draws)


def _p_values(draws: Found) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values by scale and jointly."""
    return draws.p_values, draws.joint


def table(name: str, draws: Found) -> list[tuple[str, ...]]:
    """Return the rows of one source of draws."""
    said = (
        f"smallest ESS {np.median(draws.ess.min(axis=1)):.0f}, R-hat {np.median(draws.r_hat):.3f} (medians), "
        f"{draws.admitted} of {len(draws.r_hat)} admitted"
    )
    count, of = int(draws.inconsistent.sum()), draws.inconsistent.size
    rate = float(stats.binomtest(count, of, LEVEL, "greater").pvalue)
    rows = [(f"{name}: {said}", *_row("verdict", "all", Uniform(count, of, rate, 1.0)))]
    rows += uniform(name, *_p_values(draws))
    count = int(draws.wrong.sum())
    outcome = "ok" if count >= POWER * of else "a wrong mass is not rejected"
    return [*rows, (name, f"{CHECKS[0]}, {WRONG:g} m", "all (Holm)", f"{count} of {of}", "", "", outcome)]


def uniform(name: str, p_values: np.ndarray, joint: np.ndarray) -> list[tuple[str, ...]]:
    """Return the rows of p-values by check and scale, (R, 2, scales), and of each check jointly, (R, 2)."""
    rows = []
    for at, check in enumerate(CHECKS):
        for scale, p in zip(SCALES, p_values[:, at].T, strict=True):
            rows.append((name, *_row(check, f"{scale:g}", Uniform.of(p))))
        rows.append((name, *_row(check, "all (Holm)", Uniform.of(joint[:, at], conservative=True))))
    return rows


def control(name: str, draws: Found) -> list[tuple[str, ...]]:
    """Return the rows of draws whose p-values are not to be uniform at the first scale."""
    rows = []
    for at, check in enumerate(CHECKS):
        *cells, outcome = _row(check, f"{SCALES[0]:g}", Uniform.of(draws.p_values[:, at, 0]))
        rows.append((name, *cells, "not found out" if outcome == "ok" else "ok: found out"))
    return rows


def _row(check: str, scale: str, found_: Uniform) -> tuple[str, ...]:
    """Return the cells of one test of uniformity."""
    cells = (f"{found_.rejected} of {found_.seeds}", f"{found_.by_rate:.2g}", f"{found_.by_law:.2g}")
    return (check, scale, *cells, "ok" if found_.holds else "not uniform")
