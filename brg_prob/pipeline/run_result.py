"""The result of a run: its tree, its summary, and what ``model.json`` says of it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from brg_prob import store
from brg_prob.correspondence import CLOSED_FORM, Check, Checks
from brg_prob.headlines import FLOW
from brg_prob.network import network_label
from brg_prob.network.bound import Optioned
from brg_prob.notebook import run_html, run_text
from brg_prob.report import render_report
from brg_prob.summary import summarise
from brg_prob.theory import base_of

_OF_LATE = ("smallest_detectable_single", "observed", "observed_single", "where", "scales_tested")
_PACKAGES = ("jax", "jaxlib", "numpyro", "arviz", "arviz-stats", "numpy", "scipy", "xarray")


@dataclass(frozen=True)
class Source:
    """Where a network came from, and all that is needed to run it again.

    Attributes
    ----------
    path
        Its file, or None for a network made in Python.
    name
        Its name in the file.
    command
        The command line, for people.
    seed
        The seed, or −1 where a key was passed.
    content
        The file as it was when it was loaded, in bytes.
    request
        What ``brg-prob rerun`` needs beside the file: JSON types.
    digest
        Of everything that made the network, where that is known by content: stages with another
        digest are not reused.
    """

    path: Path | None = None
    name: str = ""
    command: str = ""
    seed: int = -1
    content: bytes = b""
    request: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, repr=False)
class Run:
    """The result of a run.

    Attributes
    ----------
    tree
        All arrays: the groups of :func:`brg_prob.fit`, then ``fisher``, ``flow``, ``theory``,
        ``checks``, the second flow under ``shell``, ``record`` with the observables
        (:mod:`brg_prob.observables`), and ``tuning`` where tuned.
    summary
        The content of ``summary.json``; see :func:`brg_prob.summary.summarise`.
    model
        The content of ``model.json``.
    network
        The network, tuned; None for a run read from disk, whose code is not executed.
    checks
        The checks of the first flow; None where nothing is predicted.
    """

    tree: xr.DataTree
    summary: dict[str, Any]
    model: dict[str, Any]
    network: Any = None
    checks: Checks | None = None

    def __repr__(self) -> str:
        """Return what was run and its verdict, in one line."""
        return run_text(self.summary, {str(name): value for name, value in self.tree.attrs.items()})

    def _repr_html_(self) -> str:
        """Return what was run and what came out, for notebooks."""
        return run_html(self.summary, {str(name): value for name, value in self.tree.attrs.items()})

    def save(self, folder: str | Path) -> Path:
        """Write the run folder, whole or not at all, and return its path; :meth:`write` says more."""
        return self.write(folder).folder

    def write(self, folder: str | Path, *, pages: Mapping[str, str] | None = None) -> store.Written:
        """Write the run folder, whole or not at all; what is not an earlier run's own is kept in it.

        Parameters
        ----------
        folder
            Absent, empty, or an earlier run.
        pages
            Further files of the run beside its report, name → text.

        Returns
        -------
        brg_prob.store.Written
            The folder, and what was kept of the one that stood there.

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
            pages={store.REPORT: render_report(self), **(pages or {})},
        )


def load_run(folder: str | Path) -> Run:
    """Read a run folder. The network's code is not executed, so ``network`` is None.

    Raises
    ------
    brg_prob.store.StoreError
        No run there, a foreign or newer format, or a damaged file.
    """
    stored = store.read_run(Path(folder))
    summary = stored.summary if FLOW in stored.summary else summarise(stored.tree) | stored.summary
    return Run(stored.tree, summary, stored.model, checks=checks_of(stored.tree))


def attributes(
    network: Any, engine: Any, posterior: xr.DataTree, source: Source, tolerance: float
) -> dict[str, Any]:
    """Return the root attributes of a run."""
    network, limit = base_of(network)
    return {
        "model_file": "" if source.path is None else source.path.name,
        "model_name": source.name or network_label(network),
        "model_options": json.dumps(options_of(network)),
        "infinite_width": int(limit),
        "engine": posterior.attrs["engine"],
        "engine_options": json.dumps(_engine_options(engine, posterior)),
        "engine_chosen": json.dumps(_chosen_options(engine, posterior)),
        "seed": source.seed,
        "command": source.command,
        "draws": int(np.prod([posterior["posterior"].sizes[d] for d in ("chain", "draw")])),
        "tolerance": tolerance,
        "versions": json.dumps(versions()),
    }


def options_of(choice: Any) -> dict[str, Any]:
    """Return the fields of a frozen dataclass as JSON types; objects, infinity included, by their repr.

    Those of a network with columns of a table are its own, and the arguments that were set.
    """
    if isinstance(choice, Optioned):
        own = options_of(choice.network)
        return own | {name: v if _is_json(v) else repr(v) for name, v in choice.options.items()}
    if not dataclasses.is_dataclass(choice):
        return {}
    values = {f.name: getattr(choice, f.name) for f in dataclasses.fields(choice) if f.init}
    return {name: v if _is_json(v) else repr(v) for name, v in values.items()}


def _is_json(value: Any) -> bool:
    """Return whether JSON has this value: it knows no infinity."""
    return isinstance(value, str | int | bool | None) or (isinstance(value, float) and math.isfinite(value))


def _engine_options(engine: Any, posterior: xr.DataTree) -> dict[str, Any]:
    """Return an engine's options; one left to it (None) as it was found, which the posterior says."""
    options = options_of(engine)
    found = {name: posterior.attrs.get(name) for name, value in options.items() if value is None}
    return options | {name: value if _is_json(value) else repr(value) for name, value in found.items()}


def _chosen_options(engine: Any, posterior: xr.DataTree) -> dict[str, Any]:
    """Return the options of an engine that are not its defaults, and those that were left to it as found."""
    fields = dataclasses.fields(engine) if dataclasses.is_dataclass(engine) else ()
    usual = {f.name for f in fields if f.default is not None and getattr(engine, f.name) == f.default}
    found = _engine_options(engine, posterior)
    return {name: value for name, value in found.items() if name not in usual and value is not None}


def versions() -> dict[str, str]:
    """Return the versions that made a run."""
    from brg_prob import __version__

    found = {"brg_prob": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def described_model(tree: xr.DataTree, source: Source, stages: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``model.json``."""
    return {
        "file": "" if source.path is None else source.path.name,
        "name": tree.attrs["model_name"],
        "options": json.loads(tree.attrs["model_options"]),
        "infinite_width": bool(tree.attrs.get("infinite_width", 0)),
        "sha256": hashlib.sha256(source.content).hexdigest() if source.content else "",
        "source": source.content.decode("utf-8", errors="replace"),
        "command": source.command,
        "seed": source.seed,
        "key": tree.attrs["key"],
        "versions": json.loads(tree.attrs["versions"]),
        "request": dict(source.request),
        "stages": dict(stages),
    }


def checks_of(tree: xr.DataTree) -> Checks | None:
    """Return the checks that a tree holds."""
    if "checks" not in tree.children:
        return None
    groups = {name: tree[name].to_dataset() for name in ("theory", "checks") if name in tree.children}
    table = groups["checks"]
    names = ("name", "hypothesis", "role", "statistic", "p_value", "smallest_detectable", "verdict", "detail")
    checks = tuple(
        Check(
            **{name: table[name].values[at].item() for name in names},
            scale_p_values=table["scale_p_value"].values[at],
            unit=table["unit"].values[at].item() if "unit" in table else "relative",  # runs of 0.0 have none
            **{name: table[name].values[at].item() for name in _OF_LATE if name in table},
        )
        for at in range(table.sizes["check"])
    )
    found = Checks(xr.DataTree.from_dict(groups), table.attrs["verdict"], checks)
    return found if "theory" in groups else dataclasses.replace(found, against=CLOSED_FORM)
