"""The page of a comparison: one HTML file, nothing computed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brg_prob.comparison import LEVEL, Comparison, headline, leads, value_error
from brg_prob.figures.comparison_curves import comparison_pictures
from brg_prob.report import page
from brg_prob.report.page import Drawing
from brg_prob.wording import short

_SECTIONS = {
    "Correlation functions": ("two-point", "four-point", "power", "mean-field"),
    "Information and flow": ("fisher", "flow"),
}


def render_comparison(comparison: Comparison) -> str:
    """Return the page of a comparison as one self-contained HTML file.

    Parameters
    ----------
    comparison
        From :func:`brg_prob.comparison.compare`.
    """
    drawn = page.drawings(comparison_pictures(comparison), prefix="comparison")
    names = comparison.names
    parts = _parts(drawn)
    return page.render_page(
        "comparison.html.jinja",
        contents=[
            *([("notes", "To bear in mind")] if comparison.notes else []),
            ("theories", "Theories"),
            ("differences", "Differences"),
            *((part["anchor"], part["title"]) for part in parts),
            ("runs", "What was compared"),
            ("how", "How it was made"),
        ],
        title=_title(names),
        sentence=headline(comparison),
        leads=leads(comparison) if len(names) <= 2 else [],
        single=len(names) == 1,
        names=names,
        notes=comparison.notes,
        theories=_theories(comparison),
        units=comparison.rows[0],
        quantities=list(comparison.largest_z),
        contrasts=_contrasts(comparison),
        tests=len(comparison.tests),
        level=LEVEL,
        parts=parts,
        settings=_settings(comparison),
        definitions=list(dict.fromkeys(row["note"] for row in comparison.rows if row["note"])),
    )


def _title(names: Sequence[str]) -> str:
    """Return what is compared."""
    if len(names) == 1:
        return f"{names[0]}: posterior against prior"
    return f"{', '.join(names[1:])} against {names[0]}"


def _parts(drawn: list[Drawing]) -> list[dict[str, Any]]:
    """Return the drawings in sections."""
    parts = [
        {
            "anchor": f"part-{number}",
            "title": title,
            "drawings": [drawing for drawing in drawn if drawing.name in inside],
        }
        for number, (title, inside) in enumerate(_SECTIONS.items(), start=1)
    ]
    return [part for part in parts if part["drawings"]]


def _theories(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the theories as rows of formatted cells."""
    return [
        {
            "name": comparison.names[theory.run],
            "state": theory.state,
            "mass": value_error(row["mass_squared"], row["mass_squared_se"]),
            "free_mass": short(row["free_mass_squared"]),
            "dimension": short(row["effective_dimension"]),
            "kl": short(row["kl_to_prior"]),
            "wasserstein": short(row["wasserstein"]),
            "kurtosis": value_error(row["excess_kurtosis"], row["excess_kurtosis_se"]),
            "score": value_error(row["score"], row["score_se"]),
            "verdict": row["verdict"],
        }
        for theory, row in zip(comparison.pairs.theories, comparison.rows, strict=True)
    ]


def _contrasts(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each contrast as formatted cells: largest z by quantity, distances, scores."""
    return [
        {
            "name": comparison.names[theory.run],
            "state": theory.state,
            "largest": [short(z, 2) for z in largest],
            "p_value": row["p_value"],
            "kl": value_error(row["kl"], row["kl_se"]),
            "reverse": value_error(row["kl_reverse"], row["kl_reverse_se"]),
            "wasserstein": value_error(row["wasserstein"], row["wasserstein_se"]),
            "inputs": row["inputs"],
            "score": value_error(row["score_difference"], row["score_difference_se"]),
            "elpd": value_error(row["elpd_difference"], row["elpd_difference_se"]),
            "pairing": _pairing(row),
        }
        for theory, row, *largest in zip(
            comparison.contrasted, comparison.contrasts, *comparison.largest_z.values(), strict=True
        )
    ]


def _pairing(row: dict[str, Any]) -> str:
    """Return how two scores were held against each other."""
    if row["score_difference"] != row["score_difference"]:
        return ""
    return f"paired over {row['shared_observations']}" if row["paired"] else "unpaired"


def _settings(comparison: Comparison) -> list[dict[str, Any]]:
    """Return what the runs were; rows in which they differ are marked."""
    return [
        {"name": name, "values": values, "differs": len(set(values)) > 1}
        for name, values in comparison.settings
        if set(values) != {"–"}
    ]
