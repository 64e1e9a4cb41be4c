"""The pipeline from data to verdict: tune, train, flow, compare, record; callable from Python.

``run`` is what ``brg-prob run`` calls. Its result, :class:`Run`, holds one DataTree and its
summary; :meth:`Run.save` writes a run folder and :func:`load_run` reads it back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from brg_prob import store
from brg_prob.correspondence import Check, Checks, check_correspondence, erg_prediction
from brg_prob.erg import FreeTheory
from brg_prob.flow import Diffusion, Flow, Shell, coarse_grain, default_scales, fisher_cutoffs
from brg_prob.geometry import FisherMetric, fisher_metric
from brg_prob.posterior import Engine, Exact, fit
from brg_prob.prediction import finite_size, with_running
from brg_prob.record import Record, recorded
from brg_prob.report import render_report
from brg_prob.results import key_to_json, with_groups
from brg_prob.summary import SECOND, combine_verdicts, summarise

Scheme = Diffusion | Shell

_PACKAGES = ("jax", "numpyro", "arviz", "numpy", "scipy", "xarray")


@dataclass(frozen=True)
class Source:
    """Where a network came from: its file, its name there, the command and the seed."""

    path: Path | None = None
    name: str = ""
    command: str = ""
    seed: int = -1


@dataclass(frozen=True)
class Run:
    """The result of a run.

    Attributes
    ----------
    tree
        All arrays: the groups of :func:`brg_prob.fit`, then ``fisher``, ``flow``, ``theory``,
        ``checks``, the second flow under ``shell``, ``record``, and ``tuning`` where tuned.
    summary
        The content of ``summary.json``; see :func:`brg_prob.summary.summarise`.
    model
        The content of ``model.json``.
    network
        The network, tuned; None for a run read from disk, whose code is not executed.
    checks
        The checks of the first flow; None where there is no prediction.
    """

    tree: xr.DataTree
    summary: dict[str, Any]
    model: dict[str, Any]
    network: Any = None
    checks: Checks | None = None

    def save(self, folder: str | Path) -> Path:
        """Write the run folder, whole or not at all, and return its path.

        Raises
        ------
        brg_prob.store.StoreError
            The folder is in use by something else, or the disk refuses.
        """
        return store.write_run(
            Path(folder),
            tree=self.tree,
            summary=self.summary,
            model=self.model,
            pages={store.REPORT: render_report(self)},
        )


def load_run(folder: str | Path) -> Run:
    """Read a run folder. The network's code is not executed, so ``network`` is None.

    Raises
    ------
    brg_prob.store.StoreError
        No run there, a foreign or newer format, or a damaged file.
    """
    stored = store.read_run(Path(folder))
    return Run(stored.tree, stored.summary, stored.model, checks=_checks_of(stored.tree))


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
    level: float = 0.05,
    controls: bool = False,
    tune: bool = False,
    record: Record | None = None,
    source: Source | None = None,
    progress: Callable[[str], AbstractContextManager[None]] | None = None,
) -> Run:
    """Train a network, flow it back, and hold the flow against the exact renormalization group.

    Parameters
    ----------
    network
        A network with the capability LinearReadout; with FreeField it is held against T9.
    x, y
        Training inputs (n, d) and targets (n,) or (n, o), as the network sees them.
    key
        From ``jax.random.key``; the same key gives the same run.
    engine, scheme
        Default ``Exact()`` and ``Diffusion()``.
    second
        A second flow of the same posterior, stored under ``shell``; left out with None, or if
        ``scheme`` is itself a shell.
    scales
        Their number, log-spaced from T to 1, or the scales themselves in the scheme's coordinate
        (the second flow then has a shell's cutoffs 1/T).
    draws, observations
        Posterior draws and T, default n.
    held_out
        Inputs and targets for predictive scores.
    tolerance, level, controls
        Of :func:`brg_prob.check_correspondence`.
    tune
        First maximise the evidence for mass, amplitude and noise.
    record, source
        How the data are shown, and where the network came from.
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
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance = {tolerance} must lie between 0 and 1, e.g. 0.05")
    scheme = scheme or Diffusion()
    second = None if isinstance(scheme, Shell) else second
    clock = _Clock(progress)
    clock.expect(4 + 2 * (second is not None) + bool(tune))
    keys = dict(zip(("fit", "flow", SECOND, "prior"), jax.random.split(key, 4), strict=True))
    engine, source = engine or Exact(), source or Source()
    network, tuning = _tuned(network, x, y, clock) if tune else (network, None)
    with clock("posterior"):
        options: dict[str, Any] = {"draws": draws, "observations": observations, "held_out": held_out}
        posterior = fit(network, x, y, engine=engine, key=keys["fit"], **options)
        metric = fisher_metric(network, posterior["constant_data"]["inputs"].values, at=posterior)
    judge = _Judge(network, tolerance, level, controls, clock, tuned=tune)
    trained = _Trained(network, posterior, metric)
    tree, checks = judge(trained.flow(scheme, scales, keys["flow"]))
    tree, found = with_groups(posterior, tree), [checks]
    if second is not None:
        count = scales if isinstance(scales, int) else len(scales)
        # the same data as before: their own spectrum was tested beside the first flow
        again = dataclasses.replace(judge, with_data=False)
        tree[SECOND], more = again(trained.flow(second, count, keys[SECOND]))
        found.append(more)
    with clock("record"):
        tree["record"] = xr.DataTree(recorded(network, posterior, record or Record(), keys["prior"]))
    if tuning is not None:
        tree["tuning"] = tuning["tuning"]
    tree.attrs.update(
        **_attributes(network, engine, posterior, source, tolerance),
        verdict=combine_verdicts([each.verdict for each in found if each is not None]),
        seconds=json.dumps(clock.seconds),
        key=key_to_json(key),
    )
    return Run(tree, summarise(tree), _model(tree, source), network, checks)


def _tuned(network: Any, x: Any, y: Any, clock: _Clock) -> tuple[Any, xr.DataTree]:
    """Return the network of greatest evidence, and the group ``tuning``."""
    from brg_prob.posterior.tuning import tune

    with clock("tuning"):
        found = tune(network, x, y)
    return found.network, found.tree


@dataclass(frozen=True)
class _Trained:
    """A trained network: what flows start from."""

    network: Any
    posterior: xr.DataTree
    metric: FisherMetric

    def flow(self, scheme: Scheme, scales: int | Sequence[float], key: Array) -> Flow:
        """Return a flow towards the prior."""
        values = _scales(scheme, scales, float(self.posterior.attrs["observations"]))
        return coarse_grain(self.network, self.posterior, self.metric, scheme=scheme, scales=values, key=key)


class _Clock:
    """Times the stages and shows them."""

    def __init__(self, progress: Any) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    def expect(self, stages: int) -> None:
        """Tell a progress bar how many stages there are."""
        if hasattr(self._progress, "expect"):
            self._progress.expect(stages + 2)  # loading came before, the report comes after

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        begin = time.perf_counter()
        with self._progress(stage) if self._progress is not None else contextlib.nullcontext():
            yield
        self.seconds[stage] = round(time.perf_counter() - begin, 3)


@dataclass(frozen=True)
class _Judge:
    """Computes a flow and holds it against the exact renormalization group."""

    network: Any
    tolerance: float
    level: float
    controls: bool
    clock: _Clock
    tuned: bool
    with_data: bool = True

    def __call__(self, flow: Flow) -> tuple[xr.DataTree, Checks | None]:
        """Return the groups of a flow and its checks; without a prediction there are none."""
        name = str(type(flow.scheme).__name__).lower()
        with self.clock(name):
            tree = flow.tree
        with self.clock(f"checks of the {name}"):
            try:
                prediction = erg_prediction(self.network, flow.x)
                checks = self._checks(flow, prediction)
            except (TypeError, ValueError) as error:  # no free field, or inputs on which T9 says nothing
                tree["flow"].attrs["no_prediction"] = str(error)
                return tree, None
            tree = with_groups(tree, checks.tree)
            tree["theory"] = xr.DataTree(with_running(tree["theory"].to_dataset(), flow, prediction))
        return tree, checks

    def _checks(self, flow: Flow, prediction: FreeTheory) -> Checks:
        """Return the checks; those of the data alone are left out where another flow has them."""
        found = check_correspondence(
            flow,
            prediction,
            tolerance=self.tolerance,
            level=self.level,
            controls=self.controls,
            finite_size=finite_size(self.network, flow),
            tuned=self.tuned and self.with_data,
        )
        if self.with_data:
            return found
        kept = [number for number, check in enumerate(found.checks) if check.role != "data"]
        tree = found.tree.copy()
        tree["checks"] = xr.DataTree(found.tree["checks"].to_dataset().isel(check=kept))
        return Checks(tree, found.verdict, tuple(found.checks[number] for number in kept))


def _scales(scheme: Scheme, scales: int | Sequence[float], observations: float) -> tuple[float, ...]:
    """Return the scales in a scheme's coordinate: those given, or log-spaced from T towards 1."""
    if not isinstance(scales, int):
        return tuple(float(s) for s in scales)
    values = default_scales(observations, scales)
    return values if isinstance(scheme, Diffusion) else fisher_cutoffs(values)


def _attributes(
    network: Any, engine: Any, posterior: xr.DataTree, source: Source, tolerance: float
) -> dict[str, Any]:
    """Return the root attributes of a run."""
    return {
        "model_file": "" if source.path is None else source.path.name,
        "model_name": source.name or getattr(network, "__name__", type(network).__name__),
        "model_options": json.dumps(_options(network)),
        "engine": posterior.attrs["engine"],
        "engine_options": json.dumps(_options(engine)),
        "seed": source.seed,
        "command": source.command,
        "draws": int(np.prod([posterior["posterior"].sizes[d] for d in ("chain", "draw")])),
        "tolerance": tolerance,
        "versions": json.dumps(_versions()),
    }


def _options(choice: Any) -> dict[str, Any]:
    """Return the fields of a frozen dataclass as JSON types; objects by their representation."""
    if not dataclasses.is_dataclass(choice):
        return {}
    values = {f.name: getattr(choice, f.name) for f in dataclasses.fields(choice) if f.init}
    return {
        name: v if isinstance(v, str | int | float | bool | None) else repr(v) for name, v in values.items()
    }


def _versions() -> dict[str, str]:
    """Return the versions that made a run."""
    from brg_prob import __version__

    found = {"brg_prob": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def _model(tree: xr.DataTree, source: Source) -> dict[str, Any]:
    """Return the content of ``model.json``."""
    described = store.describe_source(source.path)
    return {
        "file": described["file"],
        "name": tree.attrs["model_name"],
        "options": json.loads(tree.attrs["model_options"]),
        "sha256": described["sha256"],
        "source": described["source"],
        "command": source.command,
        "seed": source.seed,
        "key": tree.attrs["key"],
        "versions": json.loads(tree.attrs["versions"]),
    }


def _checks_of(tree: xr.DataTree) -> Checks | None:
    """Return the checks that a tree holds."""
    if "checks" not in tree.children:
        return None
    groups = {name: tree[name].to_dataset() for name in ("theory", "checks")}
    table = groups["checks"]
    names = ("name", "hypothesis", "role", "statistic", "p_value", "smallest_detectable", "verdict", "detail")
    checks = tuple(
        Check(
            **{name: table[name].values[at].item() for name in names},
            scale_p_values=table["scale_p_value"].values[at],
        )
        for at in range(table.sizes["check"])
    )
    return Checks(xr.DataTree.from_dict(groups), table.attrs["verdict"], checks)
