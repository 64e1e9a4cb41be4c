"""Figures of a run, drawn with matplotlib from its tree; nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from brg_prob.figures.agreement_intervals import agreement_picture
from brg_prob.figures.cutoff import cutoff_picture
from brg_prob.figures.distance import distance_picture
from brg_prob.figures.evidence_curve import evidence_picture
from brg_prob.figures.field import field_picture
from brg_prob.figures.fisher_spectrum import spectrum_picture
from brg_prob.figures.information_curves import information_picture
from brg_prob.figures.loo_curve import loo_picture
from brg_prob.figures.parameter_directions import participation_picture, sloppiness_picture
from brg_prob.figures.posterior_contraction import contraction_picture
from brg_prob.figures.predictive_score import score_picture
from brg_prob.figures.prior_predictive_spectrum import data_spectrum_picture
from brg_prob.figures.propagators import propagator_picture
from brg_prob.figures.rank_plots import convergence_picture
from brg_prob.figures.running import running_picture
from brg_prob.figures.style import Picture, Section
from brg_prob.figures.theories import theories_picture
from brg_prob.figures.trusted_modes import trust_picture
from brg_prob.figures.vector import svg

__all__ = [
    "Picture",
    "Section",
    "agreement_picture",
    "contraction_picture",
    "convergence_picture",
    "cutoff_picture",
    "data_spectrum_picture",
    "distance_picture",
    "evidence_picture",
    "field_picture",
    "information_picture",
    "loo_picture",
    "participation_picture",
    "pictures",
    "propagator_picture",
    "running_picture",
    "score_picture",
    "sloppiness_picture",
    "spectrum_picture",
    "svg",
    "theories_picture",
    "trust_picture",
]

_IN_READING_ORDER: tuple[Callable[[xr.DataTree], Picture | None], ...] = (
    field_picture,
    sloppiness_picture,
    participation_picture,
    contraction_picture,
    agreement_picture,
    distance_picture,
    spectrum_picture,
    cutoff_picture,
    propagator_picture,
    running_picture,
    information_picture,
    score_picture,
    loo_picture,
    theories_picture,
    data_spectrum_picture,
    evidence_picture,
    trust_picture,
    convergence_picture,
)


def pictures(tree: xr.DataTree) -> list[Picture]:
    """Return all pictures that a run's tree has the groups for, in reading order.

    Each names the part of the report it belongs to (``section``); parts come in the order ``field``,
    ``determined``, ``correspondence``, ``flow``, ``theories``, ``data``, ``trust``, ``sampling``.
    """
    drawn = (draw(tree) for draw in _IN_READING_ORDER)
    return [picture for picture in drawn if picture is not None]
