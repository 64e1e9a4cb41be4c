"""A posterior and its flows: what the stages of a run share, whatever was fitted and however."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import xarray as xr
from jax import Array

from brg_prob.correspondence import (
    ClosedForm,
    ExactRG,
    Hypothesis,
    SampledAnew,
    check_correspondence,
    first_that_applies,
    with_convergence,
)
from brg_prob.flow import Diffusion, Flow, Scheme, Tempering, coarse_grain, default_scales, left_alone
from brg_prob.geometry import FisherMetric, coordinates_alone, fisher_metric
from brg_prob.posterior import Engine, Rehearsed
from brg_prob.results import with_groups


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
    controls
        Whether wrong predictions are tested as well.
    tuned
        Whether mass, amplitude and noise were fitted to these data.
    """

    tolerance: float
    shift: float
    level: float
    controls: bool = False
    tuned: bool = False


@dataclass(frozen=True)
class Fitted:
    """A posterior, and what its flows share.

    Attributes
    ----------
    network
        What the engine fitted: a network, or a model read at its data.
    posterior, engine
        Its draws, and how they were made.
    scales
        Number of scales, or the scales of the first flow themselves, in its coordinate.
    demands
        Of every verdict.
    depends
        What the posterior depends on, by content.
    found
        What the dry run found.
    """

    network: Any
    posterior: xr.DataTree
    engine: Engine
    scales: int | Sequence[float]
    demands: Judgement
    depends: tuple[Any, ...]
    found: Rehearsed

    @cached_property
    def metric(self) -> FisherMetric:
        """The Fisher metric at the posterior and its inputs; of a model without one its coordinates alone."""
        if self.found.no_metric:
            return coordinates_alone(self.network, key=jax.random.key(0))
        inputs = self.posterior["constant_data"]["inputs"].values
        return fisher_metric(self.network, inputs, at=self.posterior)

    def chosen(self, scheme: Scheme | None) -> tuple[Scheme, str]:
        """Return the scheme, diffusion where it can be done, and a remark where it cannot."""
        found = self.found
        spans = scheme is None or (not scheme.anew and scheme.cut(0.0) is None)
        if spans and not found.no_diffusion and not found.small:  # only the metric itself can tell
            beyond = left_alone(self.metric.null_bound, float(self.posterior.attrs["observations"]))
            if beyond:  # the posterior is there: it is not given up, even if diffusion was asked for
                found, scheme = dataclasses.replace(found, no_metric=beyond), None
        if scheme is not None:
            return scheme, ""
        why_not = f"; {found.no_diffusion}, so it is tempered" if found.no_diffusion else ""
        return scheme_of(found, None, self.engine), why_not

    def scales_of(self, scheme: Scheme, *, first: bool) -> tuple[float, ...]:
        """Return the scales in a scheme's coordinate; those that were given are the first flow's."""
        if first and not isinstance(self.scales, int):
            return tuple(float(scale) for scale in self.scales)
        count = self.scales if isinstance(self.scales, int) else len(self.scales)
        return scheme.at_observations(default_scales(float(self.posterior.attrs["observations"]), count))


def scheme_of(found: Rehearsed, asked: Scheme | None, engine: Engine) -> Scheme:
    """Return the scheme of a run, diffusion where none is asked for and it can be done.

    Raises
    ------
    ValueError
        Draws of this model cannot be moved so, with the reason.
    """
    if asked is None:
        return Tempering().with_engine(engine) if found.no_diffusion else Diffusion()
    if found.no_diffusion and not asked.anew:
        raise ValueError(f"{asked.name} cannot be done: {found.no_diffusion}; use --scheme tempering")
    return asked


@dataclass
class Branch:
    """One flow of a posterior, and what it is held against.

    Attributes
    ----------
    fitted, scheme, key
        What is flowed, how, and the flow's key.
    first
        Whether it is the first flow, beside which the data's own spectrum and the draws' convergence are
        tested: they are the same of the others.
    truth
        The posterior sampled anew at the same scales, if it is.
    remark
        Added to the reason where no exact renormalization group is predicted.
    """

    fitted: Fitted
    scheme: Scheme
    key: Array
    first: bool = True
    truth: Branch | None = None
    remark: str = ""

    @property
    def flow_depends(self) -> tuple[Any, ...]:
        """What the flow depends on."""
        return (*self.fitted.depends, self.scheme, self.fitted.scales, self.key)

    @property
    def depends(self) -> tuple[Any, ...]:
        """What the flow and its checks depend on."""
        return (*self.flow_depends, self.fitted.demands, self.first, self.truth is not None)

    @cached_property
    def flow(self) -> Flow:
        """The flow towards the prior."""
        at = self.fitted
        return coarse_grain(
            at.metric.network,
            at.posterior,
            at.metric,
            scheme=self.scheme,
            scales=at.scales_of(self.scheme, first=self.first),
            key=self.key,
        )

    def judged(self) -> xr.DataTree:
        """Return the groups of the flow, of its checks, and of what the data determine.

        The flow is held against the first prediction that applies, and against the posterior sampled anew.
        """
        flow, tree, demands = self.flow, self.flow.tree, self.fitted.demands
        exact = ExactRG(finite_size="own", tuned=demands.tuned and self.first, with_data=self.first)
        predicted, why_not = first_that_applies(flow, (exact, ClosedForm()))
        if why_not:
            tree["flow"].attrs["no_prediction"] = f"{why_not}{self.remark}"
        hypotheses: list[Hypothesis] = [] if predicted is None else [predicted]
        if self.truth is not None:
            hypotheses.append(SampledAnew(self.truth.flow, tolerance=demands.shift))
        found = None
        if hypotheses:
            found = check_correspondence(
                flow,
                hypotheses,
                tolerance=demands.tolerance,
                level=demands.level,
                controls=demands.controls,
                key=jax.random.fold_in(self.key, 3),
            )
        own = {"tolerance": demands.shift, "level": demands.level}
        flowed, posterior = tree["flow"].to_dataset(), self.fitted.posterior
        found = with_convergence(found, posterior, flowed, listed=self.first, **own)
        if self.first:
            tree = with_groups(tree, flow.metric.determined(posterior))
        return tree if found is None else with_groups(tree, found.tree)
