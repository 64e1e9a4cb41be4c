"""One member of the published experiment: trained, its Fisher matrices, its shells at every cutoff (T8, T11).

Everything here is traced; nothing is larger than inputs × neurons. A shell needs no loop over cutoffs:
a neuron is reset from the first cutoff above its Fisher entry on, so sums over reset neurons are
cumulative sums over that cutoff's number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from brg_prob.geometry.readout_spectrum import modes_of_gram
from brg_prob.posterior.gradient_flow import gradient_flow_dual
from brg_prob.posterior.sgd_exact import sgd_dual
from inference._quadratic_setting import Data, FisherRule, Setting, draw_inputs, exact_rule, sampled_rules

Train = Callable[[Array, Array], Array]
"""(kernel (n, n), residual (n, 1)) → dual coefficients (n, 1)."""


class Member(NamedTuple):
    """What is drawn for one member.

    Attributes
    ----------
    hidden
        Hidden weights.
    weights
        Readout before training, (P,).
    fisher_x
        Pool of fresh Fisher inputs, (m, 2).
    fresh
        What reset weights become, (P,): each once.
    """

    hidden: dict[str, Array]
    weights: Array
    fisher_x: Array
    fresh: Array


class Shells(NamedTuple):
    """The field on the test inputs at every cutoff.

    Attributes
    ----------
    kept
        Field of the kept weights, Σ_kept w_iϕ_i, (t, rules, cutoffs).
    variance
        Variance of the reset ones, Σ_sloppy ϕ_i², (t, rules, cutoffs).
    """

    kept: Array
    variance: Array

    def squared_error(self, y: Array) -> Array:
        """Return the expectation over the reset weights of (y − f)², (rules, cutoffs, t)."""
        return jnp.moveaxis(jnp.square(y[:, None, None] - self.kept) + self.variance, 0, -1)


@dataclass(frozen=True)
class Case:
    """What all members share.

    Attributes
    ----------
    counts
        Numbers of Fisher inputs that are compared, ascending; the exact expectation comes after them.
    main
        Position of the rule that the published pictures are drawn for.
    cutoffs
        Ascending from 0.
    point
        The test input at which the output's histogram is taken.
    """

    setting: Setting
    counts: tuple[int, ...]
    main: int
    cutoffs: tuple[float, ...]
    point: int = 0

    @property
    def eigen(self) -> tuple[int, ...]:
        """Rules whose eigenbasis shell is computed: the main one and the largest sample."""
        return tuple(dict.fromkeys((self.main, len(self.counts) - 1)))


def draw_member(case: Case, key: Array) -> Member:
    """Draw a member; nothing depends on how many members there are."""
    hidden_key, weight_key, fisher_key, fresh_key = jax.random.split(key, 4)
    hidden = case.setting.network.sample_hidden(hidden_key)
    shape = (case.setting.network.widths[-1],)
    return Member(
        hidden,
        jax.random.normal(weight_key, shape),
        draw_inputs(fisher_key, max(case.counts)),
        jax.random.normal(fresh_key, shape),
    )


def trainer(setting: Setting, method: str) -> Train:
    """Return the closed-form training of a method."""
    if method == "gradient_flow":
        return lambda kernel, residual: gradient_flow_dual(kernel, residual, setting.time)
    return lambda kernel, residual: sgd_dual(
        kernel, residual, learning_rate=setting.learning_rate, epochs=setting.epochs
    )


def dual_problem(case: Case, data: Data, member: Member) -> tuple[Array, Array]:
    """Return ΦΦᵀ (n, n) and the residual y − f_0 (n, 1) of an untrained member."""
    features = case.setting.network.features(data.x, member.hidden)
    return features @ features.T, (data.y - features @ member.weights)[:, None]


def measure_member(case: Case, data: Data, member: Member, dual: Array) -> dict[str, Array]:
    """Return losses and shells of a member whose trained weights are w_0 + Φᵀ dual.

    Parameters
    ----------
    dual
        (n, 1).

    Returns
    -------
    dict
        Squared errors on the test inputs: ``errors`` and ``sampled`` (rules, cutoffs, t), expected and of one
        redraw; ``eigen`` (bases, cutoffs, t), expected in the eigenbases; ``trained``, ``untrained``,
        ``forgotten`` (t,), as trained, before, and expected of fresh weights throughout. Training losses
        ``start`` and ``end``; ``output`` (cutoffs,) at one test input; ``sloppy`` (rules, cutoffs); ``zero``,
        ``zero_active``, ``fisher_error`` (rules,); ``dead``.
    """
    network = case.setting.network
    features = network.features(data.x, member.hidden)
    weights = member.weights + features.T @ dual[:, 0]
    test = network.features(data.test_x, member.hidden)
    field, untrained = test @ weights, test @ member.weights
    rules = (sampled_rules(member.fisher_x, case.counts), exact_rule(member.hidden))
    fisher = [network.features(rule.x, member.hidden) for rule in rules]
    diagonal = jnp.concatenate([r.weights @ jnp.square(f) for r, f in zip(rules, fisher, strict=True)])
    level = first_cutoff(diagonal, case.cutoffs)
    shells = parameter_shells(test, weights, field, level, len(case.cutoffs))
    redrawn = cumulative(test, (member.fresh - weights)[:, None], level, len(case.cutoffs))
    sampled = field[:, None, None] + redrawn
    bases = [_fisher_rows(case, rules, fisher, number) for number in case.eigen]
    eigen = [eigen_shells(test, weights, field, rows, case.cutoffs) for rows in bases]
    return {
        "errors": shells.squared_error(data.test_y),
        "sampled": jnp.moveaxis(jnp.square(data.test_y[:, None, None] - sampled), 0, -1),
        "eigen": jnp.concatenate([shell.squared_error(data.test_y) for shell in eigen]),
        "trained": jnp.square(data.test_y - field),
        "untrained": jnp.square(data.test_y - untrained),
        "forgotten": jnp.square(data.test_y) + jnp.sum(jnp.square(test), axis=1),
        "start": jnp.mean(jnp.square(data.y - features @ member.weights)),
        "end": jnp.mean(jnp.square(data.y - features @ weights)),
        "output": sampled[case.point, case.main],
        "sloppy": jnp.cumsum(_one_hot(level, len(case.cutoffs)).sum(axis=1), axis=-1),
        **_fisher_quality(diagonal),
    }


def _fisher_rows(case: Case, rules: tuple[FisherRule, ...], fisher: list[Array], number: int) -> Array:
    """Return the rows S (m, P) with Fisher matrix SᵀS of one rule."""
    if number == len(case.counts):
        return jnp.sqrt(rules[1].weights[0])[:, None] * fisher[1]
    count = case.counts[number]
    return fisher[0][:count] / jnp.sqrt(float(count))


def first_cutoff(information: Array, cutoffs: tuple[float, ...]) -> Array:
    """Return the number of the first cutoff that exceeds each entry; ``len(cutoffs)`` where none does."""
    return jnp.searchsorted(jnp.asarray(cutoffs), information, side="right")


def _one_hot(level: Array, count: int) -> Array:
    """Return (..., count): 1 at ``level``."""
    return (level[..., None] == jnp.arange(count)).astype(float)


def cumulative(features: Array, weights: Array, level: Array, count: int) -> Array:
    """Return Σ_{i: level_i ≤ c} features_ti weights_i for every cutoff c.

    Parameters
    ----------
    features
        (t, P).
    weights
        (P, 1) or (P, rules).
    level
        (rules, P).

    Returns
    -------
    Array
        (t, rules, count).
    """
    place = jnp.moveaxis(_one_hot(level, count), 1, 0) * weights[:, :, None]
    sums = features @ place.reshape(features.shape[1], -1)
    return jnp.cumsum(sums.reshape(features.shape[0], level.shape[0], count), axis=-1)


def parameter_shells(test: Array, weights: Array, field: Array, level: Array, count: int) -> Shells:
    """Return the shells of single weights (T8 `parameter`, `reset`), ``level`` (rules, P)."""
    lost = cumulative(test, weights[:, None], level, count)
    variance = cumulative(jnp.square(test), jnp.ones((test.shape[1], 1)), level, count)
    return Shells(field[:, None, None] - lost, variance)


def eigen_shells(
    test: Array, weights: Array, field: Array, rows: Array, cutoffs: tuple[float, ...]
) -> Shells:
    """Return the shells of eigenmodes (T8 `eigen`, `reset`) of the Fisher matrix SᵀS, rows S (m, P).

    Directions without any information are below every positive cutoff, as neurons with a zero entry are.
    """
    modes = modes_of_gram(rows.shape[0] * (rows @ rows.T), 1.0, parameters=rows.shape[1])
    # unit vectors v_k = Sᵀu_k/√λ_k of the weights with information, as fields on the test inputs
    scale = jnp.where(modes.eigenvalues > 0, jax.lax.rsqrt(modes.eigenvalues + (modes.eigenvalues <= 0)), 0)
    unit = modes.inputs * scale[None, :]
    fields, along = (test @ rows.T) @ unit, (rows @ weights) @ unit
    kept = modes.eigenvalues[:, None] >= jnp.asarray(cutoffs)[None, :]
    kept_field = (fields * along[None, :]) @ kept.astype(float)
    variance = jnp.sum(jnp.square(test), axis=1)[:, None] - jnp.square(fields) @ kept.astype(float)
    untouched = jnp.asarray(cutoffs) <= 0
    return Shells(
        jnp.where(untouched, field[:, None], kept_field)[:, None, :],
        jnp.where(untouched, 0.0, jnp.maximum(variance, 0.0))[:, None, :],
    )


def _fisher_quality(diagonal: Array) -> dict[str, Array]:
    """Return how far the sampled diagonals are from the exact one, which is the last of (rules, P)."""
    exact = diagonal[-1]
    active = exact > 0
    relative = jnp.abs(diagonal / jnp.where(active, exact, jnp.nan) - 1)
    return {
        "zero": jnp.sum(diagonal == 0, axis=1),
        "zero_active": jnp.sum((diagonal == 0) & active, axis=1),
        "fisher_error": jnp.nanmedian(relative, axis=1),
        "dead": jnp.sum(~active),
    }


def counterpart(case: Case, data: Data, member: Member) -> dict[str, Array]:
    """Return the test losses of both closed-form trainings, and the size of the steps: 2η‖K‖, 2η max K_ii."""
    network = case.setting.network
    kernel, residual = dual_problem(case, data, member)
    cross = network.features(data.test_x, member.hidden)
    features = network.features(data.x, member.hidden)
    found = {}
    for method in ("sgd_exact", "gradient_flow"):
        weights = member.weights + features.T @ trainer(case.setting, method)(kernel, residual)[:, 0]
        found[method] = jnp.mean(jnp.square(data.test_y - cross @ weights))
    step = 2 * case.setting.learning_rate
    found["norm"] = step * jnp.linalg.eigvalsh(kernel)[-1]
    found["largest"] = step * jnp.max(jnp.diagonal(kernel))
    return found
