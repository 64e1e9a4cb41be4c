"""The stages of a run for any NumPyro model: sample, temper, flow, compare, and say what the data determine.

There is no exact renormalization group to hold such a flow against. The ground truth is the
posterior itself at every T, sampled anew (T6), and the question is where the Gaussian flow
follows it. Where the prior has no transport to N(0, 1) the tempered posterior is the flow.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import xarray as xr
from jax import Array
from numpyro.distributions import OrderedLogistic

from brg_prob.correspondence import ExactRG, Hypothesis, SampledAnew, check_correspondence, with_convergence
from brg_prob.data_record import Record, recorded
from brg_prob.flow import Diffusion, Shell, Tempering, coarse_grain, default_scales, fisher_cutoffs
from brg_prob.flow.model_flow import ModelFlow
from brg_prob.geometry import ModelMetric
from brg_prob.geometry.model_metric import coordinates_alone, model_metric, no_metric
from brg_prob.geometry.sloppiness import sloppiness
from brg_prob.network import Conditioned
from brg_prob.network.centre import bare
from brg_prob.network.columns import axis_names
from brg_prob.observables import convergence_table, slides
from brg_prob.pipeline.desk import Desk
from brg_prob.pipeline.rehearsal import Rehearsed, rehearse
from brg_prob.pipeline.result import Run, attributes, checks_of, described_model
from brg_prob.posterior import Engine, Given, as_data, fit
from brg_prob.results import key_to_json, with_groups
from brg_prob.summary import SECOND, TEMPERED, combine_verdicts, summarise

Scheme = Diffusion | Shell | Tempering


@dataclass(frozen=True)
class Judgement:
    """What a verdict demands: the deviations that must be detectable, and the level of the test.

    Attributes
    ----------
    tolerance
        Relative, of variances.
    shift
        Of draws against draws, in their standard deviations.
    level
        Of the test, over all scales.
    """

    tolerance: float
    shift: float
    level: float


@dataclass(frozen=True)
class Sampled:
    """A posterior of any model, its flows, and what they depend on.

    Attributes
    ----------
    conditioned
        The model at its data, read once for everything.
    posterior, engine
        Its draws, and how they were made.
    scheme
        Of the first flow.
    scales
        Number of scales, or the scales T (cutoffs for a shell) themselves.
    key
        Of the flows.
    depends
        What the posterior depends on, by content.
    """

    conditioned: Conditioned
    posterior: xr.DataTree
    engine: Engine
    scheme: Scheme
    scales: int | Sequence[float]
    key: Array
    depends: tuple[Any, ...]

    @cached_property
    def metric(self) -> ModelMetric:
        """The Fisher metric at the posterior's mean; of a model without one its coordinates alone."""
        if no_metric(self.conditioned):
            return coordinates_alone(self.conditioned, key=jax.random.key(0))
        return model_metric(self.conditioned, at=self.posterior)

    def flow(self, scheme: Scheme, number: int) -> ModelFlow:
        """Return the flow by a scheme; ``number`` tells its key from the others'."""
        found = coarse_grain(
            self.conditioned.network,
            self.posterior,
            self.metric,
            scheme=scheme,
            scales=self.scales_of(scheme),
            key=jax.random.fold_in(self.key, number),
        )
        assert isinstance(found, ModelFlow)
        return found

    def scales_of(self, scheme: Scheme) -> tuple[float, ...]:
        """Return the scales in a scheme's coordinate; one that was not asked for has 1/T of the other."""
        if not isinstance(self.scales, int) and scheme == self.scheme:
            return tuple(float(s) for s in self.scales)
        count = self.scales if isinstance(self.scales, int) else len(self.scales)
        values = default_scales(float(self.posterior.attrs["observations"]), count)
        return fisher_cutoffs(values) if isinstance(scheme, Shell) else values

    @cached_property
    def first(self) -> ModelFlow:
        """The first flow."""
        return self.flow(self.scheme, 0)

    @cached_property
    def truth(self) -> ModelFlow:
        """The posterior sampled anew at every T."""
        return self.flow(Tempering(engine=self.engine), 1)


def run_model(
    network: Any,
    data: tuple[Any, Any, Any],
    *,
    key: Array,
    engine: Engine,
    scheme: Scheme | None,
    second: Shell | None,
    scales: int | Sequence[float],
    options: dict[str, Any],
    judgement: Judgement,
    record: Record,
    source: Any,
    desk: Desk,
) -> Run:
    """Return the run of any NumPyro model; :func:`brg_prob.run` calls it.

    Parameters
    ----------
    network, data
        The model; x, y and the held-out rows or None.
    options
        ``draws`` and ``observations`` of :func:`brg_prob.fit`.
    desk
        Where stages are computed and found again.
    """
    keys = dict(zip(("fit", "flow", "prior"), jax.random.split(key, 3), strict=True))
    given = as_data(*data, missing=True)
    factors = getattr(engine, "likelihood_factors", None)
    conditioned = _named(given.conditioned(network, factors), record)
    found = rehearse(conditioned, engine, draws=options["draws"], held_out=given.held_out, scheme=scheme)
    desk.say(notes := _notes(record, conditioned, found))
    depends = (engine, keys["fit"], options)
    posterior = desk(
        "posterior",
        lambda: fit(conditioned, *data[:2], engine=engine, key=keys["fit"], held_out=data[2], **options),
        *depends,
    )
    scheme, remark = _possible(scheme, engine, found)
    sampled = Sampled(conditioned, posterior, engine, scheme, scales, keys["flow"], depends)
    tempers = isinstance(scheme, Diffusion) and not isinstance(engine, Given)
    second = second if isinstance(scheme, Diffusion) else None
    desk.expect(4 + tempers + (second is not None))
    tree = posterior.copy()  # what the flows start from stays as it was fitted
    if tempers:
        tree[TEMPERED] = desk("tempering", lambda: sampled.truth.tree, *_flowed(sampled), branch=TEMPERED)
    first = desk(
        type(scheme).__name__.lower(),
        lambda: _judged(sampled, judgement, remark, against=tempers),
        *_flowed(sampled),
        judgement.shift,
        judgement.level,
        tempers,
    )
    tree = with_branches(tree, first)
    if second is not None:
        tree[SECOND] = desk(
            SECOND, lambda: sampled.flow(second, 2).tree, *_flowed(sampled), second, branch=SECOND
        )
    shown = desk("record", lambda: _shown(sampled, record, keys["prior"]), *_flowed(sampled), record)
    tree = with_branches(tree, shown)
    tree.attrs.update(attributes(conditioned.network, engine, posterior, source, judgement.tolerance))
    tree.attrs.update(
        notes=json.dumps(notes),
        shift_tolerance=judgement.shift,
        verdict=combine_verdicts([first["checks"].attrs["verdict"]]),
        seconds=json.dumps(desk.seconds),
        key=key_to_json(key),
    )
    described = described_model(tree, source, desk.described)
    return Run(tree, summarise(tree), described, conditioned.network, checks_of(first))


def _named(conditioned: Conditioned, record: Record) -> Conditioned:
    """Return the model with the names of columns and levels along the axes of its latent sites.

    Raises ValueError where levels were coded in another order than that which is observed.
    """
    _refuse_alphabetical(conditioned, record)
    size = conditioned.x.shape[1]
    if not record.source or len(record.inputs) != size:
        return conditioned
    stacked = getattr(conditioned.network, "columns", record.inputs)
    columns = {at: name for at, name in enumerate(record.inputs) if name in stacked}
    levels = {at: record.levels[name] for at, name in enumerate(record.inputs) if name in record.levels}
    return dataclasses.replace(conditioned, axis_names=axis_names(conditioned, columns, levels))


def _refuse_alphabetical(conditioned: Conditioned, record: Record) -> None:
    """Raise ValueError for labels, coded as they stand in the alphabet, whose order is observed."""
    laws = {site.name: bare(site.distribution) for site in conditioned.sites.observed}
    ordered = [name for name, law in laws.items() if isinstance(law, OrderedLogistic)]
    for target in record.targets if ordered else ():
        labels = record.levels.get(target, ())
        numbered = all(label[:1].isdigit() for label in labels)  # "1 low", "2 medium"
        if len(labels) > 2 and list(labels) == sorted(labels) and not numbered:
            raise ValueError(
                f"site {ordered[0]!r} observes an order, and the labels of {target!r} are coded in that of "
                f"the alphabet ({', '.join(labels[:4])}); give the numbers 0, 1, … in their own order"
            )


def _notes(record: Record, conditioned: Conditioned, found: Rehearsed) -> list[str]:
    """Return what was done to the data, what was read of the model, and what cannot be done, as sentences."""
    cannot = [f"diffusion cannot be done: {found.no_diffusion}"] if found.no_diffusion else []
    return [*record.said, *conditioned.reading.notes, *cannot]


def _possible(scheme: Scheme | None, engine: Engine, found: Rehearsed) -> tuple[Scheme, str]:
    """Return the scheme, diffusion where it can be done, and what to add where nothing exact is predicted."""
    if scheme is None:
        if not found.no_diffusion:
            return Diffusion(), ""
        return Tempering(engine=engine), f"; {found.no_diffusion}, so it is tempered"
    if isinstance(scheme, Tempering) and scheme.engine is None:
        scheme = dataclasses.replace(scheme, engine=engine)
    return scheme, ""


def with_branches(tree: xr.DataTree, other: xr.DataTree) -> xr.DataTree:
    """Return a tree with the groups of another, branches of the first kept."""
    merged = tree.copy()
    for name, group in other.children.items():
        merged[name] = group
    merged.attrs.update(other.attrs)
    return merged


def _flowed(sampled: Sampled) -> tuple[Any, ...]:
    """Return what the flows depend on."""
    return (*sampled.depends, sampled.scheme, sampled.scales, sampled.key)


def _judged(sampled: Sampled, judgement: Judgement, remark: str, *, against: bool) -> xr.DataTree:
    """Return the groups of the first flow, of its checks, and what the data determine."""
    tree = sampled.first.tree
    exact = ExactRG()
    if why_not := exact.applies(sampled.first):
        tree["flow"].attrs["no_prediction"] = f"{why_not}{remark}"
    hypotheses: list[Hypothesis] = [] if why_not else [exact]
    if against:
        hypotheses.append(SampledAnew(sampled.truth, tolerance=judgement.shift))
    found = None
    if hypotheses:
        key = jax.random.fold_in(sampled.key, 3)
        found = check_correspondence(
            sampled.first, hypotheses, tolerance=judgement.tolerance, level=judgement.level, key=key
        )
    demands = {"tolerance": judgement.shift, "level": judgement.level}
    found = with_convergence(found, sampled.posterior, tree["flow"].to_dataset(), **demands)
    determined = sloppiness(sampled.metric, sampled.posterior)
    return with_groups(with_groups(tree, found.tree), determined)


def _shown(sampled: Sampled, record: Record, key: Array) -> xr.DataTree:
    """Return the groups that show the run: the record, convergence, and what the slider moves."""
    prepared: dict[str, Any] = {"preparation": record.preparation}
    groups = {
        "record": recorded(
            sampled.conditioned.network, sampled.posterior, record, key, conditioned=sampled.conditioned
        ),
        "diagnostics": convergence_table(sampled.posterior, None, input_name=record.place, **prepared),
        "slides": slides(sampled.first, **prepared),
    }
    return xr.DataTree.from_dict(groups)
