"""All members of the published experiment, one compiled program after the other on every core.

A member is a function of the seed and its own number, so that it is the same bit for bit in an ensemble of
any size. Losses are averaged over test inputs here, by one numpy routine: at cutoff 0 they are those of the
trained network bit for bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401  (loads the BLAS that is to be kept to one thread)
from jax import Array
from threadpoolctl import threadpool_limits

from brg_prob.posterior.descent_steps import Batches, descend_dual
from inference._quadratic_member import (
    Case,
    counterpart,
    draw_member,
    dual_problem,
    measure_member,
    trainer,
)
from inference._quadratic_setting import Data, draw_data

GROUPS = 50
"""Groups of members whose sums are kept per test input: the bootstrap draws from them."""
_CHUNK = 32
"""Members that are stepped side by side."""
_AVERAGED = ("trained", "untrained", "forgotten", "sampled")
_KEPT = ("start", "end", "output", "sloppy", "zero", "zero_active", "fisher_error", "dead")

Progress = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What is known of every member; M members, R Fisher rules (the exact one last), B eigenbases, C cutoffs.

    Attributes
    ----------
    trained, untrained, forgotten
        Test losses: trained, before training, and expected of fresh weights throughout, (M,).
    start, end
        Training losses before and after, (M,).
    losses, eigen
        Expected test losses of the shells, (M, R, C) and (M, B, C).
    sampled
        Test losses of one redraw, (M, R, C).
    output
        The field at one test input after that redraw, by the main rule, (M, C).
    sloppy
        Number of reset weights, (M, R, C).
    zero, zero_active, fisher_error, dead
        Fisher entries that are zero, and zero although the neuron is active somewhere, (M, R); median
        relative error of the others, (M, R); neurons that are active nowhere, (M,).
    group_errors, group_sizes
        Expected squared errors per test input, summed over the trained members of a group,
        (G, R + B, C, t), and how many they are, (G,).
    """

    case: Case
    method: str
    data: Data
    trained: np.ndarray
    untrained: np.ndarray
    forgotten: np.ndarray
    start: np.ndarray
    end: np.ndarray
    losses: np.ndarray
    eigen: np.ndarray
    sampled: np.ndarray
    output: np.ndarray
    sloppy: np.ndarray
    zero: np.ndarray
    zero_active: np.ndarray
    fisher_error: np.ndarray
    dead: np.ndarray
    group_errors: np.ndarray
    group_sizes: np.ndarray

    @property
    def members(self) -> int:
        """M."""
        return self.trained.size

    @property
    def converged(self) -> np.ndarray:
        """Members whose training loss fell, (M,): steps of the published size make some diverge."""
        return has_converged(self.start, self.end)

    @property
    def truth(self) -> float:
        """The target at the test input of ``output``."""
        return float(self.data.test_y[self.case.point])


def has_converged(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return where the training loss is finite and below that of the untrained network."""
    return np.asarray(end < start)  # False for NaN


def keys_of(seed: int) -> tuple[Array, Array]:
    """Return the keys of the data and of the members of a seed."""
    data, members = jax.random.split(jax.random.key(seed))
    return data, members


def run_ensemble(
    case: Case, method: str, members: int, seed: int, progress: Progress = lambda _: None
) -> Ensemble:
    """Return the ensemble of a seed."""
    data_key, member_key = keys_of(seed)
    data = draw_data(case.setting, data_key)
    rows: list[dict[str, np.ndarray]] = []
    groups = min(members, GROUPS)
    shape = (len(case.counts) + 1 + len(case.eigen), len(case.cutoffs), case.setting.test)
    sums, sizes = np.zeros((groups, *shape)), np.zeros(groups)
    for number, found in enumerate(_measured(case, method, data, members, member_key)):
        errors = np.concatenate([found["errors"], found["eigen"]])
        row = {name: found[name] for name in _KEPT}
        with np.errstate(over="ignore", invalid="ignore"):  # of members that diverge
            row |= {name: np.mean(found[name], axis=-1) for name in _AVERAGED}
            row["all"] = np.mean(errors, axis=-1)
        rows.append(row)
        if has_converged(found["start"], found["end"]):
            sums[number % groups] += errors
            sizes[number % groups] += 1
        if (number + 1) % 100 == 0:
            progress(f"{number + 1} of {members} members")
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    every = stacked.pop("all")
    losses, eigen = every[:, : len(case.counts) + 1], every[:, len(case.counts) + 1 :]
    return Ensemble(
        case, method, data, losses=losses, eigen=eigen, group_errors=sums, group_sizes=sizes, **stacked
    )


def _measured(
    case: Case, method: str, data: Data, members: int, key: Array
) -> Iterator[dict[str, np.ndarray]]:
    """Yield what :func:`measure_member` finds, member by member."""
    keys = [jax.random.fold_in(key, number) for number in range(members)]
    if method == "stepped_sgd":
        duals, program = _stepped(case, data, members, key), _measuring(case)
        yield from _on_every_core(lambda number: program(data, keys[number], duals[number]), members)
    else:
        trained = _training(case, method)
        yield from _on_every_core(lambda number: trained(data, keys[number]), members)


@lru_cache(maxsize=16)
def _training(case: Case, method: str) -> Callable[[Data, Array], dict[str, Array]]:
    """Return the compiled program that draws, trains and measures a member."""
    train = trainer(case.setting, method)

    def one(data: Data, key: Array) -> dict[str, Array]:
        member = draw_member(case, key)
        return measure_member(case, data, member, train(*dual_problem(case, data, member)))

    return jax.jit(one)


@lru_cache(maxsize=16)
def _measuring(case: Case) -> Callable[[Data, Array, Any], dict[str, Array]]:
    """Return the compiled program that measures a member of given dual coefficients."""
    return jax.jit(lambda data, key, dual: measure_member(case, data, draw_member(case, key), dual))


def _on_every_core(
    function: Callable[[int], dict[str, Array]], count: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the values of a compiled function in order; several run at once, each on one core."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def fetched(number: int) -> dict[str, np.ndarray]:
        return {name: np.asarray(values) for name, values in function(number).items()}

    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        yield fetched(0)  # compiles
        for first in range(1, count, 8 * workers):  # bounded: results wait in memory
            yield from pool.map(fetched, range(first, min(first + 8 * workers, count)))


def _stepped(case: Case, data: Data, members: int, key: Array) -> np.ndarray:
    """Return the dual coefficients (M, n, 1) after every single step, by the library's stepped descent."""
    setting = case.setting
    batches = Batches(setting.train, 1, shuffle=False)
    recorded = jnp.asarray([0, setting.epochs])

    def one(data: Data, number: Array) -> Array:
        member = draw_member(case, jax.random.fold_in(key, number))
        kernel, residual = dual_problem(case, data, member)
        rate = jnp.asarray(setting.learning_rate)
        return descend_dual(kernel, -residual, rate, jax.random.key(0), batches, recorded)[0]

    many = jax.jit(jax.vmap(one, in_axes=(None, 0)))
    size = min(_CHUNK, members)
    # the last chunk is filled up with members beyond: one shape, one compilation
    chunks = [np.arange(first, first + size) for first in range(0, members, size)]
    return np.concatenate([np.asarray(many(data, jnp.asarray(chunk))) for chunk in chunks])[:members]


def run_counterparts(case: Case, data: Data, members: int, seed: int) -> dict[str, np.ndarray]:
    """Return, of the first members, the test losses of both closed forms, and the size of their steps."""
    key = keys_of(seed)[1]
    compiled = jax.jit(lambda data, key: counterpart(case, data, draw_member(case, key)))
    count = min(members, case.setting.counterparts)
    found = list(_on_every_core(lambda number: compiled(data, jax.random.fold_in(key, number)), count))
    return {name: np.stack([row[name] for row in found]) for name in found[0]}


def compare_loop(case: Case, data: Data, seed: int, number: int) -> dict[str, float]:
    """Return seconds of a plain numpy loop over one member's steps, and its distance from `sgd_exact`."""
    setting, member = case.setting, draw_member(case, jax.random.fold_in(keys_of(seed)[1], number))
    features = np.asarray(setting.network.features(data.x, member.hidden))
    y, weights = np.asarray(data.y), np.array(member.weights)
    train = jax.jit(trainer(setting, "sgd_exact"))
    problem = dual_problem(case, data, member)
    jax.block_until_ready(train(*problem))
    start = time.perf_counter()
    exact = np.asarray(member.weights) + features.T @ np.asarray(train(*problem))[:, 0]
    middle = time.perf_counter()
    with threadpool_limits(1):
        for _ in range(setting.epochs):
            for row, value in zip(features, y, strict=True):
                weights -= 2 * setting.learning_rate * (row @ weights - value) * row
    end = time.perf_counter()
    return {
        "loop_seconds": end - middle,
        "exact_seconds": middle - start,
        "largest_difference": float(np.max(np.abs(weights - exact))),
        "steps": setting.epochs * setting.train,
        "member": number,
    }
