"""What a flow is held against: hypotheses, and :func:`check_correspondence`, which holds it against them.

A hypothesis is a frozen dataclass with its own options. It says in a sentence why it does not apply to a
flow (:meth:`Hypothesis.applies`); whatever it raises beyond that is a mistake of the program. Whether a
network was sampled or optimised is asked of nobody: a hypothesis asks what differs from draw to draw, and
which capabilities the network has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import jax
from jax import Array

from brg_prob.correspondence.checks import Demands
from brg_prob.correspondence.closed_form import ClosedPosterior, check_closed_form, finite_width
from brg_prob.correspondence.free_field import check_free_field, with_running
from brg_prob.correspondence.momentum_survey import FiniteSize
from brg_prob.correspondence.plane_waves import all_alias, grid_misfit
from brg_prob.correspondence.predictions import erg_prediction
from brg_prob.correspondence.sampled_anew import SHIFT_TOLERANCE, check_against_tempering
from brg_prob.correspondence.verdicts import Checks, joined
from brg_prob.erg import FreeTheory
from brg_prob.flow import Flow
from brg_prob.network import FreeField, LinearReadout, network_label


@runtime_checkable
class Hypothesis(Protocol):
    """A claim about the draws of a flow at every scale."""

    def applies(self, flow: Flow) -> str | None:
        """Return None if it says something of this flow, else why not, a sentence without its full stop."""

    def checks(self, flow: Flow, demands: Demands, key: Array) -> Checks:
        """Return what was found; called only where it applies."""


@dataclass(frozen=True)
class ExactRG:
    """The draws follow the exact renormalization group of a free field (T9).

    Attributes
    ----------
    prediction
        The field theory; None: that which the network states (:func:`brg_prob.erg_prediction`).
    finite_size
        See :func:`brg_prob.correspondence.free_field.check_free_field`; "own": T10 with the network's own
        hidden layers, where it has one set of them.
    tuned
        Which of "mass", "amplitude", "noise" were fitted to these data, or True for all.
    with_data
        Whether the data's own spectrum is tested as well.
    """

    prediction: FreeTheory | None = None
    finite_size: FiniteSize | str | None = None
    tuned: bool | Sequence[str] = False
    with_data: bool = True

    def applies(self, flow: Flow) -> str | None:
        """Return None for a free field on a full grid whose hidden layers and σ are held."""
        network = flow.network
        if self.prediction is None and not isinstance(network, FreeField):
            return (
                f"{network_label(network)} states no exact renormalization group (capability FreeField: "
                "spectral_density(p) with attributes dim, cutoff, mass, noise, box)"
            )
        if moved := _differing(flow):
            return f"the exact renormalization group holds given {moved}"
        field = self.prediction if self.prediction is not None else cast(FreeField, network)
        return grid_misfit(flow.x, box=field.box) or all_alias(flow.x, box=field.box, cutoff=field.cutoff)

    def predicted(self, flow: Flow) -> FreeTheory:
        """Return the field theory that the flow is held against."""
        return erg_prediction(flow.network, flow.x) if self.prediction is None else self.prediction

    def checks(self, flow: Flow, demands: Demands, key: Array) -> Checks:
        """Return the checks plane wave by plane wave, and the running mass."""
        prediction = self.predicted(flow)
        finite = finite_width(flow) if self.finite_size == "own" else self.finite_size
        found = check_free_field(
            flow, prediction, demands=demands, finite_size=cast("FiniteSize | None", finite), tuned=self.tuned
        )
        return with_running(found if self.with_data else found.without("data"), flow, prediction)


@dataclass(frozen=True)
class ClosedForm:
    """The draws are the closed-form posterior of a linear readout at every T (T10).

    Attributes
    ----------
    posterior
        The closed form; None: that of the network's own kernel.
    """

    posterior: ClosedPosterior | None = None

    def applies(self, flow: Flow) -> str | None:
        """Return None for the diffusion or tempering of a readout at one set of hidden layers and one σ."""
        if flow.cuts:
            return "a shell is the posterior at no T"
        if self.posterior is not None:
            return None
        if not isinstance(flow.network, LinearReadout):
            return (
                f"{network_label(flow.network)} declares no linear readout (capability LinearReadout: "
                "sample_hidden(key), features(x, hidden), readout_prior(hidden) with attributes outputs, "
                "noise, noise_spread)"
            )
        if moved := _differing(flow):
            return f"the closed form holds given {moved}"
        if flow.draw_noise is not None:
            return "σ differs from draw to draw"
        return None if len(flow.hidden) == 1 else "the draws of several members' hidden layers are mixed"

    def checks(self, flow: Flow, demands: Demands, key: Array) -> Checks:
        """Return the checks mode by mode."""
        found = ClosedPosterior.of_network(flow) if self.posterior is None else self.posterior
        return check_closed_form(flow, found, demands=demands)


@dataclass(frozen=True)
class SampledAnew:
    """The draws have the law of the posterior sampled anew at every T (T6).

    Attributes
    ----------
    truth
        Draws of an engine run at the flow's scales, such as a flow by ``Tempering(engine)``.
    tolerance
        Largest shift, in standard deviations of a draw, that may go unseen.
    """

    truth: Flow
    tolerance: float = SHIFT_TOLERANCE

    def applies(self, flow: Flow) -> str | None:
        """Return None for draws at the same numbers of observations T."""
        if tuple(map(float, flow.scales)) != tuple(map(float, self.truth.scales)):
            return "the posterior was sampled anew at other scales"
        return flow.no_coordinates or self.truth.no_coordinates or None

    def checks(self, flow: Flow, demands: Demands, key: Array) -> Checks:
        """Return the two-sample check of all scales."""
        return check_against_tempering(
            flow, self.truth, tolerance=self.tolerance, level=demands.level, key=key
        )


def check_correspondence(
    flow: Flow,
    hypotheses: Hypothesis | Sequence[Hypothesis] | None = None,
    *,
    tolerance: float = 0.05,
    level: float = 0.05,
    controls: bool = False,
    key: Array | None = None,
) -> Checks:
    """Hold a flow against hypotheses, at every scale (T18).

    Parameters
    ----------
    flow
        From :func:`brg_prob.coarse_grain`, of any network, engine and scheme.
    hypotheses
        One or several. None: :class:`ExactRG` and :class:`ClosedForm`, as far as they apply.
    tolerance
        Largest deviation that may go unseen: relative for variances and eigenvalues, in standard deviations
        of a draw for means. A shift has its own (:class:`SampledAnew`).
    level
        Probability of an inconsistent verdict when all hypotheses hold, shared by them, by the checks of
        each that make the verdict, and by the scales (Holm).
    controls
        Also hold the draws against wrong predictions. One that is not rejected makes the verdict
        undetermined.
    key
        Of permutations; default ``jax.random.key(0)``.

    Returns
    -------
    Checks
        ``tree`` with the group ``checks``, and ``theory`` or ``distance`` where a hypothesis has them;
        ``verdict``, ``rows()``, ``status``.

    Raises
    ------
    ValueError
        Tolerance or level out of range; a hypothesis that does not apply, with its reason; none that does.

    Examples
    --------
    >>> from models.cosnet import CosNet
    >>> import brg_prob, jax, jax.numpy as jnp
    >>> network, x = CosNet(box=10.0), jnp.arange(40)[:, None] / 4.0
    >>> posterior = brg_prob.fit(network, x, jnp.sin(x[:, 0]), key=jax.random.key(0), draws=50)
    >>> metric = brg_prob.fisher_metric(network, x)
    >>> flow = brg_prob.coarse_grain(network, posterior, metric, scales=(40.0, 4.0), key=jax.random.key(1))
    >>> [check.name for check in check_correspondence(flow, ClosedForm()).checks]
    ['tempered covariance', 'tempered mean']
    """
    for name, value in (("tolerance", tolerance), ("level", level)):
        if not 0 < value < 1:
            raise ValueError(f"{name} = {value} must lie between 0 and 1, e.g. 0.05")
    key = jax.random.key(0) if key is None else key
    chosen = _chosen(flow, hypotheses)
    demands = Demands(tolerance, level / len(chosen), controls=controls)
    found = [one.checks(flow, demands, key) for one in chosen]
    return found[0] if len(found) == 1 else joined(found, tolerance=tolerance, level=level)


def _chosen(flow: Flow, hypotheses: Hypothesis | Sequence[Hypothesis] | None) -> list[Hypothesis]:
    """Return the hypotheses that the flow is held against; all that are named must apply."""
    if hypotheses is None:
        asked: list[Hypothesis] = [ExactRG(), ClosedForm()]
        reasons = [one.applies(flow) for one in asked]
        found = [one for one, reason in zip(asked, reasons, strict=True) if reason is None]
        if not found:
            raise ValueError(
                f"no hypothesis applies to this flow: {'; '.join(map(str, reasons))}{_way_out(flow)}"
            )
        return found
    named = [hypotheses] if isinstance(hypotheses, Hypothesis) else list(hypotheses)
    for one in named:
        if reason := one.applies(flow):
            raise ValueError(f"{type(one).__name__} does not apply: {reason}")
    if not named:
        raise ValueError("hypotheses is empty; give at least one, or None for all that apply")
    return named


def _way_out(flow: Flow) -> str:
    """Return what draws of any model can be held against all the same."""
    if flow.cuts or flow.atlas.conditioned is None:
        return ""
    return (
        "; hold it against SampledAnew(truth), truth a flow of the same posterior at the same scales by "
        "coarse_grain(…, scheme=Tempering(NUTS()))"
    )


def first_that_applies(flow: Flow, hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis | None, str]:
    """Return the first hypothesis that applies to a flow, and why the first of all does not."""
    reasons = [one.applies(flow) for one in hypotheses]
    found = next((one for one, reason in zip(hypotheses, reasons, strict=True) if reason is None), None)
    return found, reasons[0] or ""


def _differing(flow: Flow) -> str:
    """Return what of a readout differs from draw to draw under one metric, and the remedy; or nothing."""
    if not isinstance(flow.network, LinearReadout):
        return ""
    hidden = [] if flow.hidden else list(flow.network.sample_hidden(jax.random.key(0)))
    sampled = ["noise"] if flow.network.noise_spread > 0 and flow.draw_noise is None else []
    names = ", ".join((*hidden, *sampled))
    return names and f"{names}, of which here every draw has its own; fit with Exact(), given them"


__all__ = [
    "ClosedForm",
    "ExactRG",
    "Hypothesis",
    "SampledAnew",
    "check_correspondence",
    "first_that_applies",
]
