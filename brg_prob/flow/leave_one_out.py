"""Leave-one-out prediction from draws of a posterior at any T (T6).

Leaving out one of n observations from a posterior at T divides the draws' density by
p(y_i|θ)^{T/n}: the importance weights are p(y_i|θ)^{−T/n}, Pareto-smoothed [Vehtari et al.,
arXiv:1507.04544, arXiv:1507.02646]. ArviZ's ``loo`` takes T = n for granted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from brg_prob.arrays import Floats

_LARGEST_K = 0.7
FEWEST = 25  # below, the Pareto tail (a fifth of the draws) has fewer than five
_PROBED = 16  # observations from which the efficiency of chains is read


@dataclass(frozen=True, eq=False)
class LooScore:
    """Leave-one-out prediction from draws at one T.

    Attributes
    ----------
    elpd
        Σ_i log p(y_i | the others, at T), nats.
    se
        Its standard error over observations, √(n Var_i).
    pointwise
        The terms, (n,).
    pareto_k
        Shape of the weights' tail for each observation, (n,); nan where all weights are equal, infinite
        where a draw makes the observation impossible: its term is then nan.
    good_k
        Largest shape at which the estimate holds for this number of draws, min(1 − 1/log10 S, 0.7); nan
        where the terms are known in closed form.
    observations
        T.
    draws
        S, over all chains.
    """

    elpd: float
    se: float
    pointwise: Floats
    pareto_k: Floats
    good_k: float
    observations: float
    draws: int

    @property
    def worst_k(self) -> float:
        """Largest Pareto k; nan where no observation needed weights."""
        return float(np.nanmax(self.pareto_k)) if not np.isnan(self.pareto_k).all() else math.nan

    @property
    def closed(self) -> bool:
        """Whether the terms are known in closed form, so that no draw was weighted."""
        return math.isnan(self.good_k)

    @property
    def bad(self) -> int:
        """Number of observations whose k exceeds ``good_k``: their terms cannot be relied on."""
        return int(np.sum(self.pareto_k > self.good_k))

    @property
    def reliable(self) -> bool:
        """Whether no observation's k exceeds ``good_k``."""
        return self.bad == 0

    @property
    def status(self) -> str:
        """A sentence for the reader."""
        text = f"elpd {self.elpd:.1f} ± {self.se:.1f} from {self.draws} draws at T = {self.observations:g}"
        if self.bad:
            text += f"; {self.bad} of {self.pareto_k.size} Pareto k above {self.good_k:.2f}"
            return f"{text} (worst {self.worst_k:.2f})"
        return text if math.isnan(self.worst_k) else f"{text}; worst Pareto k {self.worst_k:.2f}"


def loo_at(
    log_likelihood: ArrayLike,
    *,
    observations: float,
    total: int | None = None,
    independent: bool = False,
    r_eff: float | None = None,
) -> LooScore:
    """Return the leave-one-out score of draws at T.

    Parameters
    ----------
    log_likelihood
        log p(y_i|θ_s) at full weight, (chain, draw, n), θ_s drawn from the posterior at T.
    observations
        T; 0 is the prior, whose weights are equal.
    total
        Number of observations that T is weighed against, default n.
    independent
        Whether the draws are independent.
    r_eff
        Effective draws per draw; default 1 for independent draws or one chain, else from the likelihoods
        of 16 observations. It only sets how much of the tail is smoothed.

    Returns
    -------
    LooScore
        elpd_i = log Σ_s w_is p(y_i|θ_s), w_is the Pareto-smoothed, normalised p(y_i|θ_s)^{−T/total} (T6).
        Cost: about a millisecond per observation at 4000 draws.

    Raises
    ------
    ValueError
        Not (chain, draw, n); fewer than 25 draws; T negative.

    Examples
    --------
    >>> logs = np.log([[[0.2, 0.5]] * 15, [[0.4, 0.5]] * 15])
    >>> prior = loo_at(logs, observations=0.0)  # nothing was learnt: the mean of 0.2 and 0.4, and 0.5
    >>> np.exp(prior.pointwise).round(3).tolist(), prior.bad
    ([0.3, 0.5], 0)
    """
    logs = np.asarray(log_likelihood, dtype=float)
    total = logs.shape[-1] if total is None else total
    _refuse(logs, observations, total)
    power = observations / total
    if r_eff is None:
        possible = logs[..., np.isfinite(logs).all(axis=(0, 1))]
        r_eff = _relative_efficiency(power * possible, independent=independent)
    pointwise, k = _left_out(logs.reshape(-1, logs.shape[2]).T, power, r_eff)
    draws = logs.shape[0] * logs.shape[1]
    elpd, se = (float(value[0]) for value in sum_and_error(pointwise[None]))
    return LooScore(elpd, se, pointwise, k, good_k(draws), float(observations), draws)


def good_k(draws: int) -> float:
    """Return the largest Pareto k at which an estimate from S draws holds, min(1 − 1/log10 S, 0.7).

    Examples
    --------
    >>> round(good_k(100), 2), good_k(4000)
    (0.5, 0.7)
    """
    return min(1 - 1 / math.log10(draws), _LARGEST_K) if draws > 1 else _LARGEST_K


def sum_and_error(values: Floats) -> tuple[Floats, Floats]:
    """Return sums over observations and their standard errors √(n Var), of (scales, n); nan for n = 1."""
    count = values.shape[1]
    spread = values.std(axis=1, ddof=1) if count > 1 else np.full(len(values), math.nan)
    return values.sum(axis=1), math.sqrt(count) * spread


def _refuse(logs: Floats, observations: float, total: int) -> None:
    """Raise ValueError for arguments from which nothing can be estimated."""
    if logs.ndim != 3:
        raise ValueError(f"log-likelihood has shape {logs.shape}; (chain, draw, n) is needed")
    draws = logs.shape[0] * logs.shape[1]
    if draws < FEWEST:
        raise ValueError(f"{draws} draws are too few for leave-one-out; at least {FEWEST} are needed")
    if not observations >= 0 or not total >= 1:
        raise ValueError(f"T = {observations:g} of {total} observations; T >= 0 of at least 1 is needed")


def _relative_efficiency(logs: Floats, *, independent: bool) -> float:
    """Return effective draws per draw of the likelihoods p(y_i|θ)^{T/n}, averaged over a few observations."""
    chains, length, n = logs.shape
    if not n or independent or chains == 1 or length < 4:
        return 1.0
    probed = logs[..., np.unique(np.linspace(0, n - 1, min(n, _PROBED)).astype(int))]
    ratio = np.exp(probed - probed.max(axis=(0, 1)))
    ratio = ratio[..., np.ptp(ratio, axis=(0, 1)) > 0]
    if not ratio.size:
        return 1.0
    from arviz_stats.base import array_stats  # a second to import, and not always needed

    ess = np.asarray(array_stats.ess(ratio, chain_axis=0, draw_axis=1, method="mean"), dtype=float)
    mean = float(np.nanmean(ess)) / (chains * length)
    # the tail may not be longer than the draws, nor have none
    return float(np.clip(mean, 16 / (chains * length), 2.0))


def _left_out(logs: Floats, power: float, r_eff: float) -> tuple[Floats, Floats]:
    """Return the log predictive density of each observation left out, and Pareto k, (n,); logs (n, S).

    A draw that makes the observation impossible would have all the weight without it: nan, and k = ∞.
    """
    count, draws = logs.shape
    pointwise, k = np.full(count, math.nan), np.full(count, math.inf)
    possible = np.all(np.isfinite(logs) | (power == 0) & (logs == -np.inf), axis=1)
    ratios = power * logs if power else np.zeros(logs.shape)
    tail = np.partition(ratios, max(5, draws // 5) - 1, axis=1)[:, : max(5, draws // 5)]
    level = 1e-12 * np.maximum(1.0, np.abs(tail.min(axis=1)))
    flat = possible & (np.ptp(np.where(possible[:, None], tail, 0.0), axis=1) <= level)
    if flat.any():  # no tail to be smoothed
        weights = -ratios[flat] - logsumexp(-ratios[flat], axis=1, keepdims=True)
        pointwise[flat], k[flat] = logsumexp(weights + logs[flat], axis=1), math.nan
    if (smoothed := possible & ~flat).any():
        from arviz_stats.base import array_stats  # a second to import, and not always needed

        weights, k[smoothed] = array_stats.psislw(ratios[smoothed], r_eff=r_eff, axis=-1)
        pointwise[smoothed] = logsumexp(weights + logs[smoothed], axis=1)
    return pointwise, k
