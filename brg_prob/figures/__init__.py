"""Figures of a run, drawn with matplotlib from its tree; nothing is computed here."""

from brg_prob.figures.evidence import evidence_picture
from brg_prob.figures.field import field_picture
from brg_prob.figures.propagators import propagator_picture
from brg_prob.figures.running import running_picture
from brg_prob.figures.spectrum import spectrum_picture
from brg_prob.figures.style import Picture, svg

__all__ = [
    "Picture",
    "evidence_picture",
    "field_picture",
    "propagator_picture",
    "running_picture",
    "spectrum_picture",
    "svg",
]
