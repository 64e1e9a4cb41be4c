"""Fill the report's template from a run's tree, summary and model.json.

The page is one file: style, figures and scripts inline, system fonts, no request. It says all it has
to say without scripts; with them, a slider moves four panels through the scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from brg_prob import figures, store
from brg_prob.comparison import Reportable
from brg_prob.figures.style import input_unit, momentum_unit
from brg_prob.headlines import FLOW, answers_in_order, row_state
from brg_prob.report import page
from brg_prob.report.interactive import slider, slider_scripts
from brg_prob.report.page import Drawing, number
from brg_prob.report.statements import inline_options, statements, subject
from brg_prob.summary import (
    branches,
    deciding_columns,
    group,
    scale_rows,
)
from brg_prob.wording import deviation

_ROLES = {
    "correspondence": "flow against theory",
    "data": "model against data",
    "draws": "can the draws be trusted?",
    "control": "wrong on purpose: must be rejected",
}


_PARTS = {
    "field": "The data and the field",
    "determined": "What the data determine",
    "correspondence": "Is the flow the exact renormalization group?",
    "flow": "Along the flow",
    "theories": "Prior against posterior field theory",
    "data": "The data against the prior predictive",
    "trust": "Which modes to trust",
    "sampling": "Sampling diagnostics",
    "": "More",
}


def write_report(run: Reportable, path: str | Path) -> Path:
    """Write the report of a run to a file, whole or not at all, and return its path.

    Parameters
    ----------
    run
        Anything with ``tree``, ``summary`` and ``model``: the result of :func:`brg_prob.run`
        or of :func:`brg_prob.load_run`.
    path
        The file, or a folder in which it shall be ``report.html``. A page of brg_prob that stood there is
        replaced at once; it stays as it was where the new one cannot be written.

    Raises
    ------
    brg_prob.store.StoreError
        No such folder, the disk refuses, or what stands there is the user's: a file of something else, or
        a page that was changed since.
    """
    target = Path(path)
    target = target / store.REPORT if target.is_dir() else target
    store.replace_page(target.parent, target.name, render_report(run))
    return target


def render_report(run: Reportable) -> str:
    """Return the report of a run as one self-contained HTML page."""
    tree, summary = run.tree, run.summary
    drawn = page.drawings(figures.pictures(tree), prefix=summary["model"]["name"])
    moving = slider(tree)
    parts = _parts(drawn, against=summary[FLOW]["hypothesis"] or "what its theory says")
    return page.render_page(
        "report.html.jinja",
        scripts=slider_scripts() if moving else (),
        data={"slides": moving.content()} if moving else {},
        contents=_contents(parts, moving=moving is not None),
        summary=summary,
        tolerated=_tolerated(summary),
        model=run.model,
        title=f"{summary['model']['name']} trained on {subject(tree)}",
        answers=answers_in_order(summary),
        states=" · ".join(state for _, state, _ in answers_in_order(summary)),
        row_state=row_state,
        level=summary[FLOW]["level"],
        statements=statements(tree, summary, run.model),
        facts=_facts(tree, summary),
        parts=parts,
        moving=moving,
        roles=_roles(summary),
        flows=[_flow_table(branch) for branch in branches(tree)],
        momentum_unit=momentum_unit(input_unit(tree)),
        options=_options(tree, summary),
        command=tree.attrs.get("command", ""),
    )


def _parts(drawn: Sequence[Drawing], *, against: str) -> list[dict[str, Any]]:
    """Return the drawings by part of the report, in the order in which one reads."""
    titles = _PARTS | {"correspondence": f"Is the flow {against}?"}
    known = [*_PARTS, *sorted({drawing.section for drawing in drawn} - set(_PARTS))]
    parts = [
        {
            "anchor": f"part-{section or 'more'}",
            "title": titles.get(section, "More"),
            "drawings": [drawing for drawing in drawn if drawing.section == section],
        }
        for section in known
    ]
    return [part for part in parts if part["drawings"]]


def _contents(parts: Sequence[dict[str, Any]], *, moving: bool) -> list[tuple[str, str]]:
    """Return the table of contents as (anchor, title)."""
    entries = [(part["anchor"], part["title"]) for part in parts]
    if moving:
        # after the data and the field, before the flow in detail
        entries.insert(
            1 if entries and entries[0][0] == "part-field" else 0, ("moving", "Through the scales")
        )
    return [
        *entries,
        ("checks", "Checks"),
        ("scales", "Scale by scale"),
        ("run", "Options of the run"),
        ("again", "Reproduce"),
    ]


def _facts(tree: xr.DataTree, summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the key numbers: value, name, explanation."""
    kl = summary["flow"]["kl_to_prior"]
    size = int(tree.attrs.get("parameters", len(summary["fisher"]["eigenvalues"])))
    what = "parameters" if summary.get("kind") == "model" else "modes"
    critical = summary["critical_scale"]
    return [
        (number(tree.attrs["n"], 6), "observations", f"trained at T = {number(summary['observations'], 6)}"),
        (
            number(summary["fisher"]["effective_dimension"]),
            "effective dimension",
            f"of {size} {what}",
        ),
        (
            number(kl[0]) if kl[0] is None else f"{number(kl[0])} nats",
            "KL from prior",
            str(tree["flow"].attrs.get("no_kl", "relative entropy of posterior to prior")),
        ),
        (
            f"T = {number(critical)}" if critical is not None else "none",
            "critical scale",
            _beyond(tree, critical)
            if critical is not None
            else "no scale predicts as well, or no held-out data",
        ),
    ]


def _beyond(tree: xr.DataTree, critical: float) -> str:
    """Return what is known of the scales beyond the critical one: worse, not scored, or none left."""
    flow = tree["flow"].to_dataset()
    beyond = np.flatnonzero(np.isclose(flow["scale"].values, critical, rtol=1e-12))
    following = int(beyond[-1]) + 1 if beyond.size else 0
    if following >= flow.sizes["scale"]:
        return "no scale predicts worse"
    by = [name for name in ("score_difference", "loo_difference") if name in flow]
    scored = any(np.isfinite(flow[name].values[following]) for name in by)
    return "coarser theories predict worse" if scored else "coarser theories could not be scored"


def _tolerated(summary: dict[str, Any]) -> str:
    """Return the deviation that must be detectable, in words."""
    if summary.get("shift_tolerance") is not None:
        return f"a shift of {deviation(summary['shift_tolerance'], 'sd')}"
    return f"a deviation of {deviation(summary.get('tolerance'))}"


def _roles(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the checks grouped by role, in the order in which they matter."""
    known = [*_ROLES, *sorted({row["role"] for row in summary["checks"]} - set(_ROLES))]
    groups = [
        {
            "name": role,
            "meaning": _ROLES.get(role, ""),
            "rows": [r for r in summary["checks"] if r["role"] == role],
        }
        for role in known
    ]
    return [group for group in groups if group["rows"]]


def _flow_table(branch: xr.DataTree) -> dict[str, Any]:
    """Return one flow as a table: a row per scale, p-values of the checks that decide."""
    attrs, rows, deciding = branch["flow"].attrs, scale_rows(branch), deciding_columns(branch)
    return {
        "scheme": str(attrs["scheme"]).lower(),
        "coordinate": str(attrs["coordinate"]).replace("_", " "),
        "has_cutoff": "momentum_cutoff" in group(branch, "theory"),
        "checks": [name for name, _ in deciding],
        "rows": [row | {"p_values": [float(p[at]) for _, p in deciding]} for at, row in enumerate(rows)],
    }


def _options(tree: xr.DataTree, summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the run was, as name and value."""
    record = group(tree, "record").attrs
    entries: list[tuple[str, Any]] = [
        ("network", summary["model"]["name"]),
        ("file", summary["model"]["file"] or "(defined in Python)"),
        *((f"model.{name}", value) for name, value in summary["model"]["options"].items()),
        ("data", record.get("source", "")),
        ("data sha256", record.get("sha256", "")),
        ("preparation", record.get("transformation", "")),
        ("seasons", record.get("seasonality", "")),
        ("held out", record.get("held_out", "")),
        ("engine", f"{summary['engine']} {inline_options(tree.attrs.get('engine_options', '{}'))}"),
        ("draws", tree.attrs.get("draws", "")),
        *([("noise σ that enters λ", number(tree.attrs["noise"], 4))] if "noise" in tree.attrs else []),
        ("metric", tree["fisher"].attrs.get("status", "")),
        ("tolerance", _tolerated(summary)),
        ("seed", "a key was passed" if summary["seed"] is None else summary["seed"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
        ("seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in summary["seconds"].items())),
    ]
    return [(name, str(value)) for name, value in entries if str(value) != ""]
