"""What a reader must know before the figures, each in a sentence or two read off the run."""

from __future__ import annotations

import ast
import contextlib
import json
from typing import Any

import xarray as xr

from brg_prob.headlines import FLOW
from brg_prob.report.page import number
from brg_prob.summary import draws_of, group


def statements(tree: xr.DataTree, summary: dict[str, Any], model: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was run, which prior, which hypothesis, and what the metric refers to, as (term, text)."""
    notes = summary.get("notes", [])
    return [
        ("What was run", _what_was_run(tree, summary)),
        *([("As it was read", f"{'; '.join(notes)}.")] if notes else []),
        ("Prior", _prior(tree, summary, model)),
        ("Hypothesis", _hypothesis(summary)),
        ("Fisher metric", _metric(tree, summary)),
    ]


def subject(tree: xr.DataTree) -> str:
    """Return what the network was trained on."""
    return str(group(tree, "record").attrs.get("subject", "data"))


def inline_options(options: str) -> str:
    """Return JSON options as ``name=value`` words."""
    return " ".join(f"{name}={value}" for name, value in json.loads(options).items())


def _what_was_run(tree: xr.DataTree, summary: dict[str, Any]) -> str:
    """Return network, data, engine and flows."""
    count = int(tree.attrs["n"])
    seen = float(summary["observations"])
    record = group(tree, "record").attrs
    drawn = draws_of(summary["engine"])
    weighted = "" if seen == count else f" weighted as T = {number(seen, 6)}"
    # a trained ensemble does not know T: it is where its flow is said to start
    tempered, start = (weighted, "") if drawn == "posterior" else ("", f" from T = {number(seen, 6)}")
    held = f" ({record['held_out']})" if record.get("held_out") else ""
    flows = " and ".join(summary["flows"])
    options = inline_options(tree.attrs.get("engine_chosen", tree.attrs.get("engine_options", "{}")))
    engine = f"{summary['engine']} ({options})" if options else summary["engine"]
    limit = " at infinite width" if summary["model"].get("infinite_width") else ""
    name = summary["model"]["name"] + limit
    return (
        f"{name} was trained on {count} observations{tempered} of {subject(tree)}{held} "
        f"with the engine {engine} and {tree.attrs.get('draws', '?')} draws of the {drawn}, and flowed back"
        f"{start} towards its prior by {flows} over {len(summary['flow']['scales'])} scales."
    )


def _prior(tree: xr.DataTree, summary: dict[str, Any], model: dict[str, Any]) -> str:
    """Return the network with its options, in its author's words, and the field theory it is."""
    options = [
        f"{name} = {number(value, 4) if isinstance(value, float) else value}"
        for name, value in summary["model"]["options"].items()
        if value is not None
    ]
    about = _docstring(model.get("source") or "")
    mass = float(group(tree, "theory").attrs.get("mass_squared", float("nan")))
    known = f" of m² = {number(mass)}" if mass > 0 else ""
    said = {
        f"{summary['model']['name']}({', '.join(options)}).": True,
        about if about.endswith(".") else f"{about}.": bool(about),
        f"Its field theory is a free one{known}, known in closed form.": "theory" in tree.children,
        "It is taken at infinite width: a Gaussian field whose covariance is the limit’s kernel.": summary[
            "model"
        ].get("infinite_width"),
        "Mass, amplitude and noise maximise the evidence.": "tuning" in tree.children,
    }
    return " ".join(sentence for sentence, holds in said.items() if holds)


def _hypothesis(summary: dict[str, Any]) -> str:
    """Return what the verdict is about."""
    judged = [row for row in summary["checks"] if row["role"] == "correspondence"]
    if not judged:
        why = summary.get("no_prediction")
        return f"None was tested{f': {why}' if why else ''}."
    first, theory = judged[0]["flow"], summary[FLOW]["hypothesis"]
    if summary.get("kind") == "model":
        claims = "; ".join(f"{row['name']}: {row['hypothesis']}" for row in judged)
        return f"The flow ({first}) is held against {theory} – {claims}."
    claims = "; ".join(f"{row['name']}: {row['hypothesis']}" for row in judged if row["flow"] == first)
    others = list(dict.fromkeys(row["flow"] for row in judged if row["flow"] != first))
    also = f" The {' and '.join(others)} is held against its own prediction." if others else ""
    if why := summary.get("no_prediction"):
        return f"The flow ({first}) is held against {theory} – {claims}. No field theory: {why}."
    return f"The flow ({first}) is held against {theory} – {claims}.{also}"


def _metric(tree: xr.DataTree, summary: dict[str, Any]) -> str:
    """Return the point, the number of observations and the noise of the Fisher metric."""
    fisher = tree["fisher"].attrs
    count = int(fisher.get("n", tree.attrs["n"]))
    noise = fisher.get("noise", tree.attrs.get("noise"))  # only a readout has one
    seen = float(summary["observations"])
    status = str(fisher.get("status", "")).strip().rstrip(".")
    if not summary["fisher"]["eigenvalues"]:
        return f"There is none: {status}."
    known = "" if noise is None else f" with noise σ = {number(float(noise), 4)}"
    return (
        f"In units of the prior and per observation, from n = {count} observations{known}; a mode is "
        f"distinguishable at T where Tλ ≥ 1, here at T = {number(seen, 6)} where λ ≥ {number(1 / seen)}. "
        f"Point: {status or 'not recorded'}."
    )


def _docstring(source: str) -> str:
    """Return the first paragraph of a model file's docstring; the file is parsed, not run."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        text = ast.get_docstring(ast.parse(source)) or ""
        return " ".join(text.split("\n\n")[0].split())[:300]
    return ""
