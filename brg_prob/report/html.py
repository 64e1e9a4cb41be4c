"""Fill the report's template from a run's tree, summary and model.json.

The page is one file: style and figures inline, system fonts, no script, no request. Every text
that comes from a user (columns, units, file and model names) passes through jinja2's escaping.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from brg_prob import figures
from brg_prob.figures import Picture
from brg_prob.summary import branches, data_sentence, deciding_columns, verdict_sentence

_ROLES = {
    "correspondence": "decide the verdict",
    "data": "is the prior a fit description of the data?",
    "control": "wrong on purpose: must be rejected",
}


class Reportable(Protocol):
    """What a report is made from; :class:`brg_prob.Run` is one."""

    @property
    def tree(self) -> xr.DataTree:
        """The arrays of the run."""
        ...

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``."""
        ...

    @property
    def model(self) -> dict[str, Any]:
        """The content of ``model.json``."""
        ...


def write_report(run: Reportable, path: str | Path) -> Path:
    """Write the report of a run to a file and return its path.

    Parameters
    ----------
    run
        Anything with ``tree``, ``summary`` and ``model``: the result of :func:`brg_prob.run`
        or of :func:`brg_prob.load_run`.
    path
        The file, or a folder in which it shall be ``report.html``.
    """
    target = Path(path)
    target = target / "report.html" if target.is_dir() else target
    target.write_text(render_report(run), encoding="utf-8")
    return target


def render_report(run: Reportable) -> str:
    """Return the report of a run as one self-contained HTML page."""
    tree, summary = run.tree, run.summary
    return _template().render(
        summary=summary,
        model=run.model,
        attrs=tree.attrs,
        record=tree["record"].attrs if "record" in tree.children else {},
        title=f"{summary['model']['name']} trained on {_subject(tree)}",
        sentence=verdict_sentence(summary),
        data_sentence=data_sentence(summary),
        facts=_facts(tree, summary),
        pictures=[(picture, Markup(figures.svg(picture))) for picture in _pictures(tree)],
        roles=_roles(summary),
        flows=[_flow_table(branch) for branch in branches(tree)],
        options=_options(tree, summary),
        command=tree.attrs.get("command", ""),
    )


@cache
def _template() -> Any:
    """Return the compiled template; escaping is on for every value."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    environment.filters.update(percent=percent, probability=probability, decimals=decimals)
    folder = files("brg_prob.report")
    style = (folder / "report.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(style)  # our own file, trusted
    return environment.from_string((folder / "report.html.jinja").read_text(encoding="utf-8"))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table: few digits, no trailing noise, a dash where there is none.

    Examples
    --------
    >>> number(0.123456), number(None), number(3.2e-9), number(12345.6, 4)
    ('0.123', '–', '3.2·10⁻⁹', '12350')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        rounded = float(f"{value:.{digits}g}")
        text = f"{rounded:.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}·10{power}".replace("-", "−")


def percent(value: float | None) -> str:
    """Return a relative size in per cent; what is mere rounding as a bound."""
    if value is None:
        return "–"
    return "< 0.1 %" if value < 1e-3 else f"{number(100 * value, 2)} %"


def probability(value: float | None) -> str:
    """Return a p-value with two digits; below 10⁻⁶ as a bound."""
    return "< 10⁻⁶" if value is not None and value < 1e-6 else number(value, 2)


def decimals(value: float) -> str:
    """Return a number with three decimals, or a dash."""
    return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else "–"


def _subject(tree: xr.DataTree) -> str:
    """Return what the network was trained on."""
    return str(tree["record"].attrs.get("subject", "data")) if "record" in tree.children else "data"


def _pictures(tree: xr.DataTree) -> list[Picture]:
    """Return the figures that the tree has the groups for."""
    pictures = []
    if "record" in tree.children:
        pictures.append(figures.field_picture(tree))
    if "theory" in tree.children:
        pictures.append(figures.propagator_picture(tree))
    pictures.append(figures.spectrum_picture(tree))
    pictures.append(figures.running_picture(tree))
    if "tuning" in tree.children:
        pictures.append(figures.evidence_picture(tree))
    return pictures


def _facts(tree: xr.DataTree, summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the key numbers: value, name, explanation."""
    kl = summary["flow"]["kl_to_prior"]
    critical = summary["critical_scale"]
    return [
        (number(tree.attrs["n"], 6), "observations", f"trained at T = {number(summary['observations'], 6)}"),
        (
            number(summary["fisher"]["effective_dimension"]),
            "effective dimension",
            f"of {len(summary['fisher']['eigenvalues'])} modes",
        ),
        (f"{number(kl[0])} nats", "KL from prior", "relative entropy of posterior to prior"),
        (
            f"T = {number(critical)}" if critical is not None else "none",
            "critical scale",
            "coarser theories predict worse"
            if critical is not None
            else "no scale predicts as well, or no held-out data",
        ),
    ]


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
    flow = branch["flow"].to_dataset()
    theory = branch["theory"].to_dataset() if "theory" in branch.children else xr.Dataset()
    columns: dict[str, Any] = {"observations": flow["observations"].values}
    if "momentum_cutoff" in theory:
        columns["momentum_cutoff"] = theory["momentum_cutoff"].values
    for name in ("effective_dimension", "kl_to_prior", "test_score", "test_score_se"):
        columns[name] = flow[name].values if name in flow else np.full(flow.sizes["scale"], np.nan)
    deciding = deciding_columns(branch)
    rows = []
    for index, scale in enumerate(flow["scale"].values):
        row = {name: float(values[index]) for name, values in columns.items()}
        rows.append(row | {"scale": float(scale), "p_values": [float(p[index]) for _, p in deciding]})
    return {
        "scheme": str(flow.attrs["scheme"]).lower(),
        "coordinate": str(flow.attrs["coordinate"]).replace("_", " "),
        "has_cutoff": "momentum_cutoff" in columns,
        "checks": [name for name, _ in deciding],
        "rows": rows,
    }


def _options(tree: xr.DataTree, summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the run was, as name and value."""
    record = tree["record"].attrs if "record" in tree.children else {}
    entries: list[tuple[str, Any]] = [
        ("network", summary["model"]["name"]),
        ("file", summary["model"]["file"] or "(defined in Python)"),
        *((f"model.{name}", value) for name, value in summary["model"]["options"].items()),
        ("data", record.get("source", "")),
        ("data sha256", record.get("sha256", "")),
        ("preparation", record.get("transformation", "")),
        ("held out", record.get("held_out", "")),
        ("engine", f"{summary['engine']} {_inline(tree.attrs.get('engine_options', '{}'))}"),
        ("draws", tree.attrs.get("draws", "")),
        ("noise σ that enters λ", number(tree.attrs["noise"], 4)),
        ("metric", tree["fisher"].attrs.get("status", "")),
        ("tolerance", f"{100 * float(tree.attrs.get('tolerance', math.nan)):g} %"),
        ("seed", "a key was passed" if summary["seed"] is None else summary["seed"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
        ("seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in summary["seconds"].items())),
    ]
    return [(name, str(value)) for name, value in entries if str(value) != ""]


def _inline(options: str) -> str:
    """Return JSON options as ``name=value`` words."""
    return " ".join(f"{name}={value}" for name, value in json.loads(options).items())
