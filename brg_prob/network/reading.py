"""What was read of a model at its data: sites, rows, what is observed, held fixed, or ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from brg_prob.network.handlers import AsObserved
from brg_prob.network.layout import Layout
from brg_prob.network.trace import ModelSites


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of a model at its data.

    Attributes
    ----------
    sites
        The model's sites.
    observed
        Which rows have an observation that counts, (n,): neither missing nor masked.
    missing
        Which entries of the targets are missing, (n, o).
    taken
        Observed site → how its value is taken.
    term_rows
        Observed site → row of each of its terms, where every term belongs to one.
    joint
        Why there is no likelihood by row; empty if there is one.
    mixed
        Observed sites with a term that depends on rows beside its own, as in a series.
    masked
        Number of rows that the model itself masks (``handlers.mask``).
    weighted
        Observed sites whose entries carry weights (``handlers.scale``).
    incomplete
        Number of rows left out because a joint observation in them lacks an entry.
    subsampled
        Plates with a ``subsample_size``, run whole.
    likelihood_factors
        Factors of the likelihood.
    values
        Observed site → its value, NaN where missing.
    arranged
        Observed site → where the entries of each row stand in its value, if not in order
        (:func:`brg_prob.network.layout.arrangement`).
    layout
        Where the mean of each row stands among those of the observed sites.
    point
        Latent site → its value at the draw of the prior where the model was read.
    constant
        Observed sites whose value is given beside the targets.
    """

    sites: ModelSites
    observed: np.ndarray
    missing: np.ndarray
    taken: Mapping[str, AsObserved]
    term_rows: Mapping[str, np.ndarray]
    joint: str
    mixed: tuple[str, ...]
    masked: int
    weighted: tuple[str, ...]
    incomplete: int
    subsampled: tuple[str, ...]
    likelihood_factors: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    layout: Layout
    point: Mapping[str, Any]
    constant: tuple[str, ...] = ()
    arranged: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def by_row(self) -> bool:
        """Whether the likelihood is a sum of terms that belong to one row each."""
        return not self.joint

    @cached_property
    def unowned(self) -> np.ndarray:
        """Which rows have a target to which no term of the likelihood belongs, (n,)."""
        there = ~self.missing.all(axis=1)
        if not self.term_rows or not self.by_row:
            return np.zeros_like(there)
        owned = np.unique(np.concatenate([rows.ravel() for rows in self.term_rows.values()]))
        return there & ~np.isin(np.arange(there.size), owned)

    @cached_property
    def leading(self) -> int:
        """Number of first rows that are only conditioned on, as in a series: the field has none for them."""
        lacking = self.missing.shape[0] - self.sites.field_shape[0] if self.sites.field_shape else 0
        return lacking if lacking == self.layout.first else 0

    @cached_property
    def no_leave_one_out(self) -> str:
        """Why no row can be left out by weights of its own term; empty if it can."""
        if self.joint:
            return self.joint
        if self.mixed:
            return f"the likelihood of {_sites(self.mixed)} at a row depends on other rows, too"
        if self.weighted:
            return f"the rows of {_sites(self.weighted)} carry weights (handlers.scale)"
        return ""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was held fixed, taken otherwise than it stands, or ignored, a sentence each."""
        said = [
            f"numpyro.param {name!r} is held at {_shown(value)}, its first value, and not inferred; make it "
            "a sample site to infer it"
            for name, value in self.sites.params.items()
        ]
        said += [
            f"factor {name!r} changes with the target: it belongs to the likelihood"
            for name in self.likelihood_factors
        ]
        prior = [name for name in self.sites.factors if name not in self.likelihood_factors]
        said += [
            f"factor {name!r} does not change with the target: it belongs to the prior" for name in prior
        ]
        said += [
            f"site {name!r} observes a value that is not among the targets: it belongs to the likelihood"
            for name in self.constant
        ]
        said += [f"plate {name!r} is run whole, not subsampled" for name in self.subsampled]
        if self.masked:
            said.append(
                f"{self.masked} of {len(self.observed)} rows are masked by the model and count for nothing"
            )
        if self.unowned.any():
            said.append(
                f"{int(self.unowned.sum())} of {len(self.observed)} rows have no term in the likelihood: "
                "they are conditioned on, or not used"
            )
        rows, entries = int(self.missing.any(axis=1).sum()), int(self.missing.sum())
        if entries:
            gaps = f"{_count(entries, 'missing target value')} in {_count(rows, 'row')}"
            said.append(f"{gaps} left out of the likelihood")
        if self.incomplete:
            whole = _count(self.incomplete, "row")
            said.append(f"{whole} left out whole: what is observed jointly there is incomplete")
        if self.sites.observed and self.no_leave_one_out:
            said.append(f"leave-one-out is not applicable, because {self.no_leave_one_out}")
        return tuple(said)


def _sites(names: tuple[str, ...]) -> str:
    """Return names of sites as words."""
    return ", ".join(repr(name) for name in names)


def _shown(value: Any) -> str:
    """Return a held value as text: a number, or what it is."""
    leaves = jax.tree.leaves(value)
    if len(leaves) == 1 and np.size(leaves[0]) == 1:
        return f"{float(np.ravel(leaves[0])[0]):g}"
    return f"{sum(np.size(leaf) for leaf in leaves)} numbers"


def _count(number: int, noun: str) -> str:
    """Return a number of things in words.

    Examples
    --------
    >>> _count(1, "row"), _count(3, "row")
    ('1 row', '3 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
