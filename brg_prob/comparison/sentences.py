"""What a comparison says in sentences, computed from its numbers."""

from __future__ import annotations

import math
from typing import Any

from brg_prob.comparison.comparison import Comparison
from brg_prob.comparison.differences import LEVEL, ROUNDING
from brg_prob.wording import listed, short

_KINDS = {
    "two_point": "two-point function",
    "four_point": "four-point function",
    "power": "power spectrum",
    "mean_field": "mean field",
}


def headline(comparison: Comparison) -> str:
    """Return what differs most and by how many standard errors; or that nothing does beyond chance."""
    most = comparison.largest
    if most is None:
        return f"{_subject(comparison)}: no number with an error could be compared; the notes say why."
    count = len(comparison.tests)
    if most["z"] == 0:
        return f"{_subject(comparison)} are the same in all {count} numbers compared."
    where = f"the {most['quantity']}{_where(comparison, most)}"
    if most["p_value"] >= LEVEL:
        whose = "" if comparison.single else f" of {_whose(comparison, most)}"
        return (
            f"{_subject(comparison)} do not differ beyond chance: the largest of {count} differences, in "
            f"{where}{whose}, is {_errors(most['z'])} (p = {short(most['p_value'], 2)})."
        )
    by = f"{_size(comparison, most)}, {_errors(most['z'])} ({_p_value(most['p_value'])})"
    if comparison.single:
        return f"Training changes {where} most: {by}."
    whose = _whose(comparison, most)
    return f"T{whose[1:]} differs from that of “{comparison.names[0]}” most in {where}: {by}."


def leads(comparison: Comparison) -> list[str]:
    """Return further sentences: distance and score of each posterior against its reference."""
    return [
        sentence
        for theory, row in zip(comparison.contrasted, comparison.contrasts, strict=True)
        if theory.state == "posterior"
        for part in (_agreement, _distance, _score)
        for sentence in part(comparison, row, theory.run)
    ]


def curve_message(comparison: Comparison, group: str) -> str:
    """Return the message of one group of differences: its largest, or that none exceeds chance."""
    words = _KINDS[group]
    plural = "power spectra" if group == "power" else f"{words}s"
    rows = [row for row in comparison.tests if row["quantity"] == words]
    if not rows:
        return f"The {plural} cannot be compared"
    row = max(rows, key=lambda test: abs(test["z"]))
    where, size = _where(comparison, row), _size(comparison, row)
    if row["z"] == 0:
        return f"The {plural} are the same everywhere"
    if row["p_value"] >= LEVEL:
        return (
            f"No difference between the {plural} exceeds chance: the largest of {len(rows)} is "
            f"{_errors(row['z'])}"
        )
    if comparison.single:
        return f"Training changes the {words} most{where}: {size}, {_errors(row['z'])}"
    return f"The {plural} differ most{where}: {_whose(comparison, row)} is {size}, {_errors(row['z'])}"


def _subject(comparison: Comparison) -> str:
    """Return what is compared, as the subject of a sentence."""
    prefix = "Prior and posterior of " if comparison.single else ""
    return prefix + listed(comparison.names)


def _whose(comparison: Comparison, row: dict[str, Any]) -> str:
    """Return whose number a difference is about."""
    theory = comparison.contrasted[row["contrast"]]
    return f"the {theory.state} of “{comparison.names[theory.run]}”"


def _where(comparison: Comparison, row: dict[str, Any]) -> str:
    """Return the lag, momentum or input of a difference in words; empty for a single number."""
    quantity, at = row["quantity"], row["at"]
    groups = {words: name for name, words in _KINDS.items()}
    if not math.isfinite(at) or quantity not in groups:
        return ""
    attrs = comparison.tree[groups[quantity]].attrs
    if quantity == "mean field":
        unit = f" {attrs['input_unit']}" if attrs["input_unit"] else ""
        return f" at {attrs['input_name']} = {short(at, 6)}{unit}"
    length = str(attrs["length_unit"])
    if quantity == "power spectrum":
        return f" at |p| = {short(at)} {f'rad/{length}' if length else 'per length'}"
    return f" at lag {short(at)}{f' {length}' if length else ''}"


def _size(comparison: Comparison, row: dict[str, Any]) -> str:
    """Return a difference in words: in per cent where that means something, else in its unit."""
    value, relative = row["difference"], row["relative"]
    direction = "higher" if value > 0 else "lower"
    if row["quantity"] in ("two-point function", "power spectrum", "mass²") and abs(relative) < 1:
        return f"{short(100 * abs(relative))} % {direction}"
    if row["quantity"] in ("power spectrum", "mass²") and math.isfinite(relative):
        return f"{short(1 + relative)} times as large"
    unit = f" {comparison.tree['mean_field'].attrs['field_unit']}" if row["quantity"] == "mean field" else ""
    return f"{short(abs(value))}{unit.rstrip()} {direction}"


def _errors(z: float) -> str:
    """Return a difference in standard errors in words."""
    number = short(abs(z), 2 if abs(z) < 100 else 3)
    return f"{number} standard error{'' if number == '1' else 's'}"


def _p_value(value: float) -> str:
    """Return a p-value in words, small ones as a bound."""
    return "p < 10⁻⁶" if value < 1e-6 else f"p = {short(value, 2)}"


def _agreement(comparison: Comparison, row: dict[str, Any], run: int) -> list[str]:
    """Return that two posteriors agree, where the headline is about something else that does not."""
    most = comparison.largest
    if comparison.single or most is None or most["p_value"] >= LEVEL or not row["p_value"] >= LEVEL:
        return []
    return [
        f"The posteriors of “{comparison.names[run]}” and “{comparison.names[0]}” do not differ beyond "
        f"chance: {_errors(row['largest_z'])} at most (p = {short(row['p_value'], 2)})."
    ]


def _distance(comparison: Comparison, row: dict[str, Any], run: int) -> list[str]:
    """Return the distance of a posterior to its reference in a sentence."""
    unit = comparison.rows[run]["field_unit"]
    unit = f" {unit}" if unit else ""
    if math.isnan(row["kl"]) and math.isnan(row["wasserstein"]):
        return []
    if comparison.single:
        return [
            f"The posterior is KL = {short(row['kl'])} nats from the prior; their fields are "
            f"{short(row['wasserstein'])}{unit} apart per input (Wasserstein)."
        ]
    return [
        f"The posteriors of “{comparison.names[run]}” and “{comparison.names[0]}” at {row['inputs']} common "
        f"inputs: KL = {value_error(row['kl'], row['kl_se'])} nats, Wasserstein distance "
        f"{value_error(row['wasserstein'], row['wasserstein_se'])}{unit} per input."
    ]


def _score(comparison: Comparison, row: dict[str, Any], run: int) -> list[str]:
    """Return the score difference of a posterior and its reference in a sentence."""
    value, error = row["score_difference"], row["score_difference_se"]
    if not math.isfinite(value):
        return []
    one = "The posterior" if comparison.single else f"“{comparison.names[run]}”"
    other = "the prior" if comparison.single else f"“{comparison.names[0]}”"
    how = f"paired over {row['shared_observations']}" if row["paired"] else "unpaired"
    if value == 0 and error == 0:
        return [f"{one} predicts held-out observations exactly as {other} does."]
    verb = f"{'better' if value > 0 else 'worse'} than {other}"
    clear = error > 0 and abs(value) > 2 * error
    verb = verb if clear else f"as well as {other} within two standard errors"
    return [f"{one} predicts held-out observations {verb}: {value_error(value, error)} nats each ({how})."]


def value_error(value: float, error: float, shown: int = 2) -> str:
    """Return a value with its error, both to a digit of the error; an error that is rounding is left out.

    Parameters
    ----------
    value, error
        May be NaN.
    shown
        Digits of the error.

    Examples
    --------
    >>> value_error(1.23456, 0.0123), value_error(3.0, float("nan")), value_error(float("nan"), 1.0)
    ('1.235 ± 0.012', '3', '–')
    >>> value_error(1.23456, 0.0123, shown=1), value_error(0.5, 1e-15)
    ('1.23 ± 0.01', '0.5')
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > ROUNDING * abs(value)):
        return short(value)
    digits = max(0, shown - 1 - math.floor(math.log10(error)))
    if digits > 6 or abs(value) >= 1e6:
        return f"{short(value)} ± {short(error, shown)}"
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "−")
