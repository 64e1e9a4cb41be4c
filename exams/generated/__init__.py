"""Generated NumPyro models, each read, tempered, measured and drawn as its reference says, or refused.

Families of likelihood × shapes of target and law × plates × names × latent sites × missing entries, the
choices drawn at random (:class:`~exams.generated.models.Spec`). Each model is written as people write it;
what must be found of it comes from a loop over rows, numbers and scipy only
(:class:`~exams.generated.reference.Reference`).

Limits, the only refusals that pass (:data:`LIMITS`):

- a series (``obs=y[1:]``, an observation inside a scan) with a missing value: the rows after it depend on it;
- a mixture observed inside a scan without a site f: NumPyro loses the shape of its parts, and so its mean.
"""

from __future__ import annotations

import re

import numpy as np

from exams.generated.checks import complaints
from exams.generated.families import FAMILIES
from exams.generated.models import Spec, drawn
from exams.generated.reference import Reference

MODELS, SMALL, MEASURED = 200, 10, 8
"""Number of models, of those of a small exam; one model in ``MEASURED`` has its metric compared."""

LIMITS = (
    r"y is missing \(NaN\) in row \d+, on which other rows' likelihood of '.*' depends; .*",
    r"the model has no site \"f\" with a value per row and its observation '.*' has no mean; add .*",
)
"""What the refusals say that pass, each explained above."""

LARGEST_REFUSED = 0.05

HEAD = (
    "family",
    "shape",
    "target",
    "plate",
    "name",
    "latent",
    "kind",
    "hyper",
    "deterministic",
    "missing",
    "metric",
    "outcome",
)
ASKS = (
    f"Of {MODELS} generated models each is read as a loop over its rows says: log-likelihood by row, n, "
    "tempered density at T = 0, n/2 and n, field, draws written and read again, and for one in "
    f"{MEASURED} the trace of the Fisher metric; or it is refused in one line, at most {LARGEST_REFUSED:.0%} "
    "of them, for a limit that is documented."
)


def specs(seed: int, count: int) -> list[Spec]:
    """Return different models, each family in its turn."""
    rng = np.random.default_rng(seed)
    found: dict[Spec, None] = {}
    families = list(FAMILIES)
    while len(found) < count:
        found[drawn(rng, families[len(found) % len(families)])] = None
    return list(found)


def outcome(spec: Spec, seed: int, *, metric: bool, tree: bool = True) -> str:
    """Return "ok", "refused: …" where a limit is documented, or what is wrong."""
    rng = np.random.default_rng([seed, *str(spec).encode()])
    try:
        found = complaints(Reference.drawn(spec, rng), rng, metric=metric, tree=tree)
    except ValueError as refusal:
        said = str(refusal)
        known = any(re.fullmatch(limit, said) for limit in LIMITS)  # "." is no newline: one line
        return f"refused: {said}" if known else f"refused without reason: {said}"
    except Exception as error:  # whatever it is, it is an outcome of the exam
        return f"raises {type(error).__name__}: {error}"
    return "; ".join(found) or "ok"


def exam(seed: int, small: bool) -> list[tuple[str, ...]]:
    """Return a row for each model, and one for the share of refusals."""
    import jax

    jax.config.update("jax_enable_x64", True)
    rows = []
    for number, spec in enumerate(specs(seed, SMALL if small else MODELS)):
        measured = number % MEASURED == 0
        said = outcome(spec, seed, metric=measured)
        rows.append(
            (*str(spec).split(", "), "yes" if measured else "", " ".join(said.replace("|", "/").split()))
        )
    refused = sum(row[-1].startswith("refused: ") for row in rows)
    share = f"{refused} of {len(rows)} refused"
    passed = refused <= LARGEST_REFUSED * len(rows)
    rows.append(("all", *[""] * (len(HEAD) - 2), f"ok: {share}" if passed else f"too many: {share}"))
    return rows
