"""The stages of a run of a linear readout: tune, train, flow, compare, record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from brg_prob.correspondence import (
    ClosedForm,
    ExactRG,
    check_correspondence,
    erg_prediction,
    first_that_applies,
)
from brg_prob.data_record import Record, recorded
from brg_prob.flow import Diffusion, Flow, Shell, Tempering, coarse_grain, default_scales, fisher_cutoffs
from brg_prob.geometry import FisherMetric, fisher_metric
from brg_prob.observables import convergence_table, data_spectrum, field_theory, slides, trust
from brg_prob.pipeline.desk import Desk
from brg_prob.pipeline.models import Judgement
from brg_prob.pipeline.result import Run, Source, attributes, checks_of, described_model
from brg_prob.posterior import Engine, fit
from brg_prob.results import key_to_json, with_groups
from brg_prob.summary import SECOND, combine_verdicts, summarise
from brg_prob.theory import infinite_width as limit_of

Scheme = Diffusion | Shell | Tempering


def run_readout(
    network: Any,
    data: tuple[Any, Any, Any],
    *,
    key: Array,
    engine: Engine,
    scheme: Scheme,
    second: Scheme | None,
    scales: int | Sequence[float],
    options: dict[str, Any],
    judgement: Judgement,
    controls: bool,
    tune: bool,
    infinite_width: bool,
    record: Record,
    source: Source,
    desk: Desk,
) -> Run:
    """Return the run of a linear readout."""
    x, y, held_out = data
    if isinstance(scheme, Tempering):
        raise ValueError(
            f"scheme = {scheme!r} runs an engine of any model anew at every T; use engine=NUTS(), Laplace() "
            "or SVI(), or Diffusion(), which is exact for a linear readout"
        )
    keys = dict(zip(("fit", "flow", SECOND, "prior"), jax.random.split(key, 4), strict=True))
    desk.expect(3 + (second is not None) + bool(tune))
    desk.say(record.said)
    network, tuning = _tuned(network, x, y, desk) if tune else (network, None)
    if infinite_width:
        network = limit_of(network, x if held_out is None else np.concatenate([x, held_out[0]]))
    trained = _trained(desk, network, (x, y, held_out), engine, keys["fit"], options)
    judge = _Judge(network, judgement.tolerance, judgement.level, controls, tuned=tune)
    first = _Branch(trained, judge, scheme, scales, keys["flow"])
    tree = with_groups(trained.posterior, found := first(desk))
    found_all = [found]
    if second is not None:
        count = scales if isinstance(scales, int) else len(scales)
        # the same data as before: their own spectrum was tested beside the first flow
        judge = dataclasses.replace(judge, with_data=False)
        found_all.append(_Branch(trained, judge, second, count, keys[SECOND], SECOND)(desk))
        tree[SECOND] = found_all[-1]
    tree.attrs.update(attributes(network, engine, trained.posterior, source, judgement.tolerance))
    if tuning is not None:
        tree["tuning"] = tuning["tuning"]
    for name, group in _shown(desk, first, tree, record, keys["prior"]).children.items():
        tree[name] = group
    tree.attrs.update(
        notes=json.dumps(record.said),
        verdict=combine_verdicts([f["checks"].attrs["verdict"] for f in found_all if "checks" in f.children]),
        seconds=json.dumps(desk.seconds),
        key=key_to_json(key),
    )
    return Run(
        tree, summarise(tree), described_model(tree, source, desk.described), network, checks_of(found)
    )


def _tuned(network: Any, x: Any, y: Any, desk: Desk) -> tuple[Any, xr.DataTree]:
    """Return the network of greatest evidence, and the group ``tuning``."""
    from brg_prob.posterior.tuning import FIELDS, tune

    tree = desk("tuning", lambda: tune(network, x, y).tree)
    best = tree["tuning"].attrs
    return dataclasses.replace(network, **{name: float(best[name]) for name in FIELDS if name in best}), tree


def _trained(
    desk: Desk,
    network: Any,
    data: tuple[Any, Any, tuple[Any, Any] | None],
    engine: Engine,
    key: Array,
    options: dict[str, Any],
) -> _Trained:
    """Return the trained network."""
    x, y, held_out = data
    depends = (engine, key, options)
    posterior = desk(
        "posterior",
        lambda: fit(network, x, y, engine=engine, key=key, held_out=held_out, **options),
        *depends,
    )
    return _Trained(network, posterior, depends)


@dataclass(frozen=True)
class _Trained:
    """A trained network: what flows start from, and what it depends on."""

    network: Any
    posterior: xr.DataTree
    depends: tuple[Any, ...]

    @cached_property
    def metric(self) -> FisherMetric:
        """The Fisher metric at the training inputs; computed if any stage needs it."""
        inputs = self.posterior["constant_data"]["inputs"].values
        found = fisher_metric(self.network, inputs, at=self.posterior)
        assert isinstance(found, FisherMetric)
        return found


@dataclass(frozen=True)
class _Branch:
    """One flow of the posterior with its checks."""

    trained: _Trained
    judge: _Judge
    scheme: Scheme
    scales: int | Sequence[float]
    key: Array
    branch: str = ""

    @property
    def depends(self) -> tuple[Any, ...]:
        """What the flow and its checks depend on."""
        judge = self.judge
        judged = (judge.tolerance, judge.level, judge.controls, judge.with_data)
        return (*self.trained.depends, judged, self.scheme, self.scales, self.key)

    @cached_property
    def flow(self) -> Flow:
        """The flow towards the prior."""
        at = self.trained
        scales = _scales(self.scheme, self.scales, float(at.posterior.attrs["observations"]))
        found = coarse_grain(
            at.network, at.posterior, at.metric, scheme=self.scheme, scales=scales, key=self.key
        )
        assert isinstance(found, Flow)
        return found

    def __call__(self, desk: Desk) -> xr.DataTree:
        """Return the groups of the flow and its checks."""
        name = self.branch or type(self.scheme).__name__.lower()
        return desk(name, lambda: self.judge(self.flow), *self.depends, branch=self.branch)


def _shown(desk: Desk, first: _Branch, tree: xr.DataTree, record: Record, key: Array) -> xr.DataTree:
    """Return the groups that show the run: the record, and what is observed of the field theories."""

    def compute() -> xr.DataTree:
        network, posterior = first.trained.network, first.trained.posterior
        metric = first.trained.metric
        prepared: dict[str, Any] = {"preparation": record.preparation}
        named: dict[str, Any] = prepared | {"units": _units(record)}
        shown = tree.copy()
        shown["record"] = xr.DataTree(recorded(network, posterior, record, key))
        groups: dict[str, xr.Dataset | None] = {
            "record": shown["record"].to_dataset(),
            "field_theory": field_theory(network, posterior, metric, key=jax.random.fold_in(key, 1), **named),
            "data_spectrum": _spectrum_of_data(first, named),
            "trust": trust(shown, **prepared),
            "diagnostics": convergence_table(posterior, metric, input_name=record.place, **prepared),
            "slides": slides(first.flow, **prepared),
        }
        return xr.DataTree.from_dict({name: group for name, group in groups.items() if group is not None})

    return desk("record", compute, *first.depends, record, key)


def _spectrum_of_data(first: _Branch, named: dict[str, Any]) -> xr.Dataset | None:
    """Return the data's own spectrum beside the prior predictive law; None without a prediction."""
    if ExactRG().applies(first.flow) is not None:
        return None
    return data_spectrum(first.flow, erg_prediction(first.trained.network, first.flow.x), **named)


def _units(record: Record) -> dict[str, str]:
    """Return the units of lengths and of the field."""
    return {
        "length": record.units.get(record.inputs[0], ""),
        "field": record.units.get(record.targets[0], ""),
    }


@dataclass(frozen=True)
class _Judge:
    """Holds a flow against the exact renormalization group."""

    network: Any
    tolerance: float
    level: float
    controls: bool
    tuned: bool
    with_data: bool = True

    def __call__(self, flow: Flow) -> xr.DataTree:
        """Return the groups of a flow and of its checks: of T9 where it applies, else of T10."""
        tree = flow.tree
        exact = ExactRG(finite_size="own", tuned=self.tuned and self.with_data, with_data=self.with_data)
        hypothesis, why_not_exact = first_that_applies(flow, (exact, ClosedForm()))
        if why_not_exact:
            tree["flow"].attrs["no_prediction"] = why_not_exact
        if hypothesis is None:
            return tree
        found = check_correspondence(
            flow, hypothesis, tolerance=self.tolerance, level=self.level, controls=self.controls
        )
        return with_groups(tree, found.tree)


def _scales(scheme: Scheme, scales: int | Sequence[float], observations: float) -> tuple[float, ...]:
    """Return the scales in a scheme's coordinate: those given, or log-spaced from T towards 1."""
    if not isinstance(scales, int):
        return tuple(float(s) for s in scales)
    values = default_scales(observations, scales)
    return values if isinstance(scheme, Diffusion) else fisher_cutoffs(values)
