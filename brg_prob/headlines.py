"""The two answers of a run, in words: flow against theory, and model against data (T18a).

They are two answers of equal rank, and neither says anything of the other's question: a flow can follow its
theory to a percent while the model misses the data altogether. Terminal, report, notebook and comparison
show what stands here; the sentences are those of :mod:`brg_prob.verdict_sentences`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from brg_prob.verdict_sentences import say
from brg_prob.wording import deviation, named, short

AGREES, DIFFERS, NOT_RESOLVED, NOT_TESTED = "agrees", "differs", "not resolved", "not tested"
NO_CONFLICT, CONFLICT = "no conflict found", "conflict"
FLOW, DATA = "flow_against_theory", "model_against_data"
TITLES: Final = {FLOW: "Flow against theory", DATA: "Model against data"}
IMPLEMENTATION, APPROXIMATION = "implementation", "approximation"


@dataclass(frozen=True)
class Judged:
    """What the two answers are read off.

    Attributes
    ----------
    rows
        All checks under the keys of summary.json.
    drawn
        "posterior" or "trained ensemble".
    flows
        Schemes, the first flow first.
    scales
        Number of scales of the first flow.
    tempered
        Whether the first flow is sampled anew at every T.
    lattice
        Whether the draws are exact ones of a readout without hidden layers.
    no_prediction
        Why there is no closed form to hold the flow against; empty if there is.
    tolerance, place, spread
        Of closed forms, of a parameter's mean (in its standard deviations), and of its spread (a factor).
    level, seed
        Probability of a false alarm for each question, and the seed that p-values depend on.
    data_reason
        Why the data were not tested; empty if they were.
    theory
        What the flow was held against, where the names of the checks do not say it.
    """

    rows: Sequence[Mapping[str, Any]]
    drawn: str
    flows: Sequence[str]
    scales: int
    tempered: bool = False
    lattice: bool = False
    no_prediction: str = ""
    tolerance: float | None = None
    place: float | None = None
    spread: float | None = None
    level: float = 0.05
    seed: int | None = None
    data_reason: str = ""
    theory: str = ""

    def of(self, *roles: str) -> list[Mapping[str, Any]]:
        """Return the checks of some roles."""
        return [row for row in self.rows if row["role"] in roles]


SAMPLED: Final = frozenset({"each parameter", "joint law"})
"""Checks of draws against draws; the others of their role are against closed forms."""


def flow_against_theory(judged: Judged) -> dict[str, Any]:
    """Return whether the flow follows its theory, how far, where not, and what would have been found.

    Returns
    -------
    dict
        ``state`` (agrees, differs, not resolved, not tested), ``kind`` (implementation, approximation or
        null), ``hypothesis``, ``scales`` (how many were tested), ``within`` {relative, place_sd,
        spread_factor}, ``where`` (a phrase for each check that rejected), ``power`` (what would have been
        found beside the largest that was seen, by check), ``level``, ``seed``, ``sentence``. JSON types.
    """
    rows = judged.of("correspondence")
    closed = [row for row in rows if row["name"] not in SAMPLED]
    tested = closed or rows
    state, key, reason = _state(judged, rows)
    kind = None if not rows else IMPLEMENTATION if closed else APPROXIMATION
    facts = {
        "flows": _flows(tested, judged.flows),
        "drawn": judged.drawn,
        "against": against(judged),
        "count": _count(tested, judged.scales),
        "power": power_sentence(tested),
        "place": short(judged.place, 2) if judged.place else "",
        "spread": short(judged.spread, 3) if judged.spread else "",
        "where": "; ".join(_where(rows)),
        "weak": ", ".join(_weak(judged, rows)),
        "reason": reason,
    }
    said = [say(key, **facts)]
    if state == AGREES and not set(rows_names(rows)) & SAMPLED:
        said.append(say("program"))
        if judged.lattice:
            said.append(say("data-independent"))
    if state == DIFFERS and _at_this_width(rows):
        said.append(say("width"))
    return {
        "state": state,
        "kind": kind,
        "hypothesis": against(judged) if rows else None,
        "scales": _tested(tested, judged.scales) if rows else 0,
        "within": {
            "relative": judged.tolerance if closed else None,
            "place_sd": judged.place if len(closed) < len(rows) else None,
            "spread_factor": judged.spread if len(closed) < len(rows) else None,
        },
        "where": _where(rows) if state == DIFFERS else [],
        "power": [_power(row) for row in rows],
        "level": judged.level,
        "seed": judged.seed,
        "sentence": " ".join(said),
    }


def model_against_data(judged: Judged) -> dict[str, Any]:
    """Return whether the data conflict with the model, by which tests, and what those could have found.

    Returns
    -------
    dict
        ``state`` (no conflict found, conflict, not tested), ``tests`` [{name, hypothesis, p_value, state}],
        ``power`` (a phrase), ``level``, ``seed``, ``sentence``. JSON types.
    """
    rows = judged.of("data")
    conflicts = [row for row in rows if row["verdict"] == "inconsistent"]
    state = NOT_TESTED if not rows else CONFLICT if conflicts else NO_CONFLICT
    power = "; ".join(text for row in rows if (text := _data_power(row)))
    p_values = [row["p_value"] for row in rows if row["p_value"] is not None]
    if state == NOT_TESTED:
        sentence = say("not tested/data", reason=judged.data_reason or "no test applies to it")
    elif state == CONFLICT:
        sentence = say("conflict", tests=", ".join(_with_p(row) for row in conflicts))
    else:
        sentence = say(
            "no conflict found",
            tests=named([row["name"] for row in rows]),
            smallest=f"smallest p = {short(min(p_values), 2)}" if p_values else "no p-value",
            power=power or "what would have been found is not known here",
        )
    return {
        "state": state,
        "tests": [
            {"name": r["name"], "hypothesis": r["hypothesis"], "p_value": r["p_value"], "state": row_state(r)}
            for r in rows
        ],
        "power": power or None,
        "level": judged.level,
        "seed": judged.seed,
        "sentence": sentence,
    }


def answers_in_order(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return both answers as (title, state, sentence): of a model of the user's own the data come first."""
    order = (DATA, FLOW) if summary.get("kind") == "model" else (FLOW, DATA)
    return [(TITLES[name], summary[name]["state"], summary[name]["sentence"]) for name in order]


def in_short(summary: Mapping[str, Any]) -> str:
    """Return both states in one line; a dash for an answer that an older run does not have.

    Examples
    --------
    >>> in_short({"flow_against_theory": {"state": "agrees"}, "model_against_data": {"state": "conflict"}})
    'flow agrees; data: conflict'
    """
    flow, data = (summary.get(name, {}).get("state", "–") for name in (FLOW, DATA))
    return f"flow {flow}; data: {data}"


def found_nothing_wrong(summary: Mapping[str, Any]) -> bool:
    """Return whether a run's flow agrees with its theory and no test found its data in conflict: --strict."""
    return bool(summary[FLOW]["state"] == AGREES and summary[DATA]["state"] == NO_CONFLICT)


def row_state(row: Mapping[str, Any]) -> str:
    """Return what one check found, in the words of its role: never "consistent".

    Examples
    --------
    >>> row_state({"name": "propagator", "role": "correspondence", "verdict": "consistent"})
    'agrees'
    >>> row_state({"name": "leave-one-out", "role": "draws", "verdict": "consistent"})
    'weights usable'
    """
    verdict, role = row["verdict"], row.get("role", "correspondence")
    words = {
        "correspondence": (AGREES, DIFFERS, NOT_RESOLVED),
        "data": ("no conflict", CONFLICT, "no conflict"),
        "control": ("not rejected", "rejected, as it must be", "not rejected"),
        "draws": ("converged", "not converged", "not converged"),
    }[role]
    if row["name"] == "joint law":  # that two sets of draws are not told apart is no agreement (T18d)
        words = ("not told apart", DIFFERS, NOT_RESOLVED)
    if row["name"] == "leave-one-out":
        words = ("weights usable", "weights not usable", "weights not usable")
    return words[("consistent", "inconsistent", "undetermined").index(verdict)]


def against(judged: Judged) -> str:
    """Return what the flow was held against."""
    if judged.theory:
        return judged.theory
    rows = judged.of("correspondence")
    sampled = any(row["name"] in SAMPLED for row in rows)
    closed = any(row["name"] not in SAMPLED for row in rows)
    law = "the exact renormalization group (T9)"
    if judged.no_prediction:
        law = "the closed-form posterior at every T (T10)"
    anew = "the posterior sampled anew at every T (T6)"
    return " and ".join([law] * closed + [anew] * sampled) or law


def power_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what would have been found, beside the largest that was seen (T18b), by kind of quantity.

    Examples
    --------
    >>> row = {"smallest_detectable": 0.02, "unit": "relative", "observed": 0.004}
    >>> power_sentence([row | {"smallest_detectable_single": 0.11, "observed_single": 0.06}])
    'would have shown a common deviation of 2.0 % (seen 0.4 %), of one mode alone 11.0 % (seen 6.0 %)'
    """
    said = []
    for unit, common in (("relative", "a common deviation of"), ("sd", "a common shift of")):
        own = [row for row in rows if row.get("unit", "relative") == unit]
        size = _largest(own, "smallest_detectable")
        if size is None:
            continue
        single = _largest(own, "smallest_detectable_single")
        text = f"{common} {deviation(size, unit)}{_seen(own, 'observed', unit)}"
        if single is not None:
            text += f", of one mode alone {deviation(single, unit)}{_seen(own, 'observed_single', unit)}"
        said.append(text)
    return f"would have shown {'; '.join(said)}" if said else "would have shown nothing that is known"


def rows_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of checks, each once."""
    return list(dict.fromkeys(str(row["name"]) for row in rows))


def _state(judged: Judged, rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """Return the state of the first answer, its sentence, and a reason."""
    if not rows:
        if judged.tempered:
            return NOT_TESTED, "not tested/tempering", ""
        return NOT_TESTED, "not tested", judged.no_prediction or "no prediction applies"
    failed = [row for row in judged.of("draws") if row["name"] == "convergence" and not _good(row)]
    if failed:
        return NOT_RESOLVED, "not resolved/draws", str(failed[0]["detail"])
    if any(row["verdict"] == "inconsistent" for row in rows):
        return DIFFERS, "differs", ""
    if not all(_good(row) for row in rows):
        return NOT_RESOLVED, "not resolved/power", ""
    if any(row["verdict"] != "inconsistent" for row in judged.of("control")):
        return NOT_RESOLVED, "not resolved/control", ""
    sampled = all(row["name"] in SAMPLED for row in rows)
    return AGREES, "agrees/sampled" if sampled else "agrees/closed", ""


def _good(row: Mapping[str, Any]) -> bool:
    return bool(row["verdict"] == "consistent")


def _weak(judged: Judged, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the checks that cannot tell."""
    weak = [row for row in rows if row["verdict"] == "undetermined"]
    return rows_names(weak or [row for row in judged.of("control") if row["verdict"] != "inconsistent"])


def _where(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a phrase for each check that rejected: what differs, where, by how much."""
    found = []
    for row in rows:
        if row["verdict"] == "inconsistent":
            place, of = str(row.get("where") or ""), f" of {row['flow']}" if "flow" in row else ""
            p_value = row["p_value"]
            chance = f" (p = {short(p_value, 2)})" if p_value is not None and math.isfinite(p_value) else ""
            found.append(f"{row['name']}{of}{f', {place}' if place else ''}{chance}")
    return found


def _flows(rows: Sequence[Mapping[str, Any]], flows: Sequence[str]) -> str:
    """Return the flows that were tested."""
    return named(list(dict.fromkeys(str(row["flow"]) for row in rows if "flow" in row)) or list(flows))


def _tested(rows: Sequence[Mapping[str, Any]], scales: int) -> int:
    """Return at how many scales the flow was tested: where both sides hold the same draws nothing is."""
    counts = [int(row["scales_tested"]) for row in rows if row.get("scales_tested") is not None]
    return max(counts, default=scales)


def _count(rows: Sequence[Mapping[str, Any]], scales: int) -> str:
    """Return the number of scales in words."""
    tested = _tested(rows, scales)
    return f"all {scales}" if tested == scales else f"{tested} of {scales}"


def _largest(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """Return the largest finite size among rows; None without any."""
    sizes = [abs(float(row[key])) for row in rows if row.get(key) is not None and math.isfinite(row[key])]
    return max(sizes, default=None)


def _seen(rows: Sequence[Mapping[str, Any]], key: str, unit: str) -> str:
    """Return the largest that was seen, in brackets."""
    size = _largest(rows, key)
    return "" if size is None else f" (seen {deviation(size, unit)})"


def _power(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one check would have found and what it saw."""
    keys = ("smallest_detectable", "smallest_detectable_single", "observed", "observed_single")
    return {"check": row["name"], "flow": row.get("flow"), "unit": row.get("unit", "relative")} | {
        key: row.get(key) for key in keys
    }


def _data_power(row: Mapping[str, Any]) -> str:
    """Return what a test of the data would have found, where it is known."""
    size = row["smallest_detectable"]
    if row["name"] != "data spectrum" or size is None or not math.isfinite(size):
        return ""
    return f"the data spectrum would have shown a mass {short(1 + size, 2)} times as large or as small"


def _with_p(row: Mapping[str, Any]) -> str:
    """Return a test with its p-value."""
    p_value = row["p_value"]
    return str(row["name"]) if p_value is None else f"{row['name']} (p = {short(p_value, 2)})"


def _at_this_width(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the finite-width prediction holds where that of the limit was rejected."""
    finite = [row["verdict"] for row in rows if str(row["name"]).startswith("finite width")]
    return bool(finite) and set(finite) == {"consistent"}
