"""Every sentence that the program prints about a verdict, each with what it rests on (T18a).

There is no free text elsewhere: terminal, report, notebook and comparison say these, filled with facts.
``docs/verdicts.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Sentence:
    """A sentence that the program prints about a verdict.

    Attributes
    ----------
    text
        With the names of its facts in braces.
    rests_on
        The statistic or fact without which it may not be said.
    """

    text: str
    rests_on: str


SENTENCES: Final[Mapping[str, Sentence]] = {
    "agrees/closed": Sentence(
        "At {count} scales this {drawn} under {flows} agrees with {against}; the checks, with probability "
        "0.8, {power}.",
        "no check rejected by Holm over scales, each with its smallest detectable common deviation below "
        "the tolerance, R-hat < 1.01 and ESS > 400, and every control rejected",
    ),
    "agrees/sampled": Sentence(
        "At {count} scales this {drawn} under {flows} agrees with {against}: the place of every parameter "
        "within {place} sd and its spread within a factor {spread}.",
        "simultaneous 95 % intervals of every parameter's mean and standard deviation inside both "
        "tolerances at every scale where the two are different draws (T18d), no shape and no joint law "
        "rejected",
    ),
    "differs": Sentence(
        "This {drawn} under {flows} differs from {against}: {where}.",
        "a check rejected by Holm over scales at its share of the level",
    ),
    "not resolved/draws": Sentence(
        "Nothing can be said of this {drawn} under {flows}: {reason}.",
        "R-hat ≥ 1.01, ESS ≤ 400, divergent transitions, an optimiser that did not converge, or a poor "
        "approximation",
    ),
    "not resolved/power": Sentence(
        "Nothing was rejected, but the draws do not suffice to say that this {drawn} under {flows} agrees "
        "with {against} ({weak}); the checks, with probability 0.8, {power}.",
        "a smallest detectable deviation above the tolerance, or an interval that reaches beyond it",
    ),
    "not resolved/control": Sentence(
        "A prediction that is wrong on purpose was not rejected ({weak}): the draws cannot tell.",
        "the p-value of a control above its level",
    ),
    "not tested/tempering": Sentence(
        "Tempering samples the posterior anew at every T: others are held against it, it is held against "
        "nothing.",
        "the scheme of the first flow",
    ),
    "not tested": Sentence(
        "There is nothing to hold this {drawn} under {flows} against: {reason}.",
        "no hypothesis applies; each says why",
    ),
    "program": Sentence(
        "This checks the program, not the model: both sides follow from the same prior, noise and data.",
        "every check of the verdict is against a closed form of the very same network",
    ),
    "data-independent": Sentence(
        "On a lattice with independent draws its p-values depend on seed and grid alone, not on the data.",
        "exact draws of a readout without hidden layers held against T9: z − E z is Lξ",
    ),
    "width": Sentence(
        "The exact prediction for this very network is met: the limit of many neurons is not reached.",
        "the checks at the network's own width, not rejected, beside rejected ones of the limit",
    ),
    "conflict": Sentence(
        "The data contradict this model: {tests}.",
        "a test of the data rejected by Holm over the tests",
    ),
    "no conflict found": Sentence(
        "{Tests} found no conflict between data and model ({smallest}); {power}.",
        "no test of the data rejected by Holm over the tests",
    ),
    "not tested/data": Sentence(
        "Whether the model fits the data was not tested: {reason}.",
        "no test of the data applies",
    ),
}
"""Every sentence about a verdict, by what it says."""


def say(key: str, **facts: Any) -> str:
    """Return one of the sentences with its facts; a name that begins with a capital begins the sentence."""
    text = SENTENCES[key].text
    capitals = {name.capitalize(): value[:1].upper() + value[1:] for name, value in facts.items() if value}
    return text.format(**facts, **{name: value for name, value in capitals.items() if f"{{{name}}}" in text})
