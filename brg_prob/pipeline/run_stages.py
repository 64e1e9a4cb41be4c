"""The stages of a run: tune, fit, sample anew, flow, compare, record.

``run`` is what ``brg-prob run`` calls. Its result, :class:`Run`, holds one DataTree and its
summary; :meth:`Run.save` writes a run folder and :func:`load_run` reads it back.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.correspondence import SHIFT_TOLERANCE, SPREAD
from brg_prob.data_record import Record, named
from brg_prob.flow import Diffusion, Scheme, Shell, Tempering
from brg_prob.pipeline.fitted import Branch, Fitted, Judgement, scheme_of
from brg_prob.pipeline.run_result import Run, Source, attributes, checks_of, described_model
from brg_prob.pipeline.shown import shown
from brg_prob.pipeline.stage_runner import StageRunner
from brg_prob.posterior import (
    Engine,
    ModelEngine,
    Rehearsed,
    Tempers,
    as_data,
    default_engine,
    fit,
    prepared,
    rehearse,
)
from brg_prob.results import key_to_json
from brg_prob.store import Stages
from brg_prob.summary import SECOND, TEMPERED, branches, combine_verdicts, group, summarise
from brg_prob.theory import infinite_width as limit_of


def run(
    network: Any,
    x: Any,
    y: Any,
    *,
    key: Array,
    engine: Engine | None = None,
    scheme: Scheme | None = None,
    second: Scheme | None = Shell(),
    scales: int | Sequence[float] = 12,
    draws: int = 4000,
    observations: float | None = None,
    held_out: tuple[Any, Any] | None = None,
    tolerance: float = 0.05,
    shift_tolerance: float = SHIFT_TOLERANCE,
    level: float = 0.05,
    controls: bool = False,
    tune: bool = False,
    infinite_width: bool = False,
    record: Record | None = None,
    source: Source | None = None,
    stages: Stages | None = None,
    progress: Callable[[str], AbstractContextManager[None]] | None = None,
) -> Run:
    """Fit a network, flow it back, and hold the flow against what is predicted of it.

    Parameters
    ----------
    network
        Any NumPyro model, or a network with the capability LinearReadout. The flow is held against the exact
        renormalization group where the network states a FreeField (T9), else against the closed-form
        posterior at every T where there is one (T10); and, where the engine can draw at every T, against the
        posterior sampled anew (T6).
    x, y
        Training inputs (n, d) and targets (n,) or (n, o), as the network sees them.
    key
        From ``jax.random.key``; the same key gives the same run.
    engine, scheme
        Default ``Exact()`` for a linear readout, ``NUTS()`` for any other model; and ``Diffusion()``,
        ``Tempering()`` for a model whose prior has no transport to N(0, 1).
    second
        A second flow of the same posterior, stored under ``shell``; left out with None, or if
        ``scheme`` is no diffusion.
    scales
        Their number, log-spaced from T to 1, or the scales themselves in the scheme's coordinate
        (the second flow then has a shell's cutoffs 1/T).
    draws, observations
        Posterior draws and T, default n.
    held_out
        Inputs and targets for predictive scores.
    tolerance, level, controls
        Of :func:`brg_prob.check_correspondence`.
    shift_tolerance
        Of :class:`brg_prob.correspondence.SampledAnew`, in standard deviations of a draw.
    tune
        First maximise the evidence for mass, amplitude and noise of a linear readout.
    infinite_width
        Take the network's limit of infinite width at the training and held-out inputs in its place
        (:func:`brg_prob.infinite_width`, T10); needs the capability InfiniteWidth.
    record, source
        How the data are shown, and where the network came from.
    stages
        From :func:`brg_prob.store.working`: stages finished earlier from the same content are not
        computed again. Needs ``source.digest``.
    progress
        ``progress(stage)`` is entered around each stage.

    Returns
    -------
    Run
        Nothing is written; see :meth:`Run.save`.

    Examples
    --------
    A hundred observations of a draw of the prior, on its own box::

        import jax, brg_prob
        from models.cosnet import CosNet

        brg_prob.enable_x64()
        x = jax.numpy.arange(100)[:, None] / 10.0
        run = brg_prob.run(CosNet(box=10.0), x, y, key=jax.random.key(0))
        run.summary["verdict"]
    """
    demands = Judgement(tolerance, shift_tolerance, level, controls, tuned=tune)
    engine, record, source = engine or default_engine(network), record or Record(), source or Source()
    _refuse_options(engine, demands, tune=tune, infinite_width=infinite_width)
    scheme = scheme if scheme is None else scheme.with_engine(engine)
    keys = dict(zip(("fit", "flow", SECOND, "prior"), jax.random.split(key, 4), strict=True))
    basis = (source.digest, x, y, held_out, tune, infinite_width)
    runner = StageRunner(progress, stages if source.digest else None, *basis)
    runner.expect(_stages(engine, scheme or Diffusion(), second, demands))
    network, tuning = _tuned(network, x, y, runner) if tune else (network, None)
    if infinite_width:
        network = limit_of(network, x if held_out is None else np.concatenate([x, held_out[0]]))
    data = as_data(x, y, held_out, missing=isinstance(engine, ModelEngine))
    read = prepared(engine, network, data, finished=partial(named, record=record))
    found = rehearse(read, engine, draws=draws, held_out=data.held_out)
    runner.expect(_stages(engine, scheme_of(found, scheme, engine), second, demands))
    runner.say(notes := [*record.said, *found.notes])
    options: dict[str, Any] = {"key": keys["fit"], "draws": draws, "observations": observations}
    fitted = _fitted(read, (x, y, held_out), engine, options, runner, (scales, demands, found))
    tree, first = _flowed(fitted, scheme, second, keys, runner)
    if aliased := str(group(tree, "theory").attrs.get("aliased_note", "")):
        runner.say([aliased])
        notes.append(aliased)
    network = read.network if isinstance(engine, ModelEngine) else read
    recorded = runner(
        "record", lambda: shown(first.flow, tree, record, keys["prior"]), *first.depends, record
    )
    tree = with_branches(tree, recorded)
    if tuning is not None:
        tree["tuning"] = tuning["tuning"]
    tree.attrs.update(
        attributes(network, engine, fitted.posterior, source, tolerance),
        notes=json.dumps(notes),
        key=key_to_json(key),
        **({"shift_tolerance": shift_tolerance, "spread_tolerance": SPREAD} if first.truth else {}),
    )
    return _gathered(tree, network, source, runner)


def _gathered(tree: xr.DataTree, network: Any, source: Source, runner: StageRunner) -> Run:
    """Return the run of a tree that is complete but for its verdict and the seconds that its stages took."""
    verdicts = [one["checks"].attrs["verdict"] for one in branches(tree) if "checks" in one]
    tree.attrs.update(verdict=combine_verdicts(verdicts), seconds=json.dumps(runner.seconds))
    described = described_model(tree, source, runner.described)
    return Run(tree, summarise(tree), described, network, checks_of(tree))


def _fitted(
    network: Any,
    data: tuple[Any, Any, tuple[Any, Any] | None],
    engine: Engine,
    options: dict[str, Any],
    runner: StageRunner,
    shared: tuple[int | Sequence[float], Judgement, Rehearsed],
) -> Fitted:
    """Return the stage of the posterior, with what its flows share: scales, demands, and the dry run."""
    x, y, held_out = data
    posterior = runner(
        "posterior", lambda: fit(network, x, y, engine=engine, held_out=held_out, **options), engine, options
    )
    scales, demands, found = shared
    return Fitted(network, posterior, engine, scales, demands, (engine, options), found)


def _refuse_options(engine: Engine, demands: Judgement, **of_readouts: bool) -> None:
    """Raise ValueError for a demand out of range, or an option that only linear readouts have."""
    if not 0 < demands.tolerance < 1:
        raise ValueError(f"tolerance = {demands.tolerance} must lie between 0 and 1, e.g. 0.05")
    if not 0 < demands.shift < 10:
        raise ValueError(
            f"shift_tolerance = {demands.shift} must lie between 0 and 10 standard deviations, e.g. 0.3"
        )
    for name, given in of_readouts.items():
        if given and isinstance(engine, ModelEngine):
            raise ValueError(f"{name} = True needs a linear readout and its engines; leave it out")


def _tuned(network: Any, x: Any, y: Any, runner: StageRunner) -> tuple[Any, xr.DataTree]:
    """Return the network of greatest evidence, and the group ``tuning``."""
    from brg_prob.posterior.tuning import FIELDS, tune

    tree = runner("tuning", lambda: tune(network, x, y).tree)
    best = tree["tuning"].attrs
    return dataclasses.replace(network, **{name: float(best[name]) for name in FIELDS if name in best}), tree


def _flowed(
    fitted: Fitted,
    scheme: Scheme | None,
    second: Scheme | None,
    keys: Mapping[str, Array],
    runner: StageRunner,
) -> tuple[xr.DataTree, Branch]:
    """Return the tree of a posterior with its flows and their checks, and the first flow."""
    scheme, remark = fitted.chosen(scheme)
    first = Branch(fitted, scheme, keys["flow"], remark=remark)
    if _diffuses(scheme) and isinstance(fitted.engine, Tempers):
        sampled = Tempering().with_engine(fitted.engine)
        first.truth = Branch(fitted, sampled, jax.random.fold_in(keys["flow"], 1))
    others = [Branch(fitted, second, keys[SECOND], first=False)] if second and _diffuses(scheme) else []
    tree = fitted.posterior.copy()  # what the flows start from stays as it was fitted
    if first.truth is not None:
        truth = first.truth
        tree[TEMPERED] = runner(TEMPERED, lambda: truth.flow.tree, *truth.flow_depends, branch=TEMPERED)
    tree = with_branches(tree, runner(scheme.name, first.judged, *first.depends))
    for other in others:
        tree[SECOND] = runner(SECOND, other.judged, *other.depends, branch=SECOND)
    return tree, first


def _diffuses(scheme: Scheme) -> bool:
    """Return whether a scheme moves draws and cuts nothing off: then others stand beside it."""
    return not scheme.anew and scheme.cut(0.0) is None


def _stages(engine: Engine, scheme: Scheme, second: Scheme | None, demands: Judgement) -> int:
    """Return the number of stages: posterior, flow, record, and what stands beside the flow."""
    beside = isinstance(engine, Tempers) + (second is not None) if _diffuses(scheme) else 0
    return 3 + beside + demands.tuned


def with_branches(tree: xr.DataTree, other: xr.DataTree) -> xr.DataTree:
    """Return a tree with the groups of another, branches of the first kept."""
    merged = tree.copy()
    for name, branch in other.children.items():
        merged[name] = branch
    merged.attrs.update(other.attrs)
    return merged
