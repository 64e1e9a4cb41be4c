"""Which theories are held against which: a prior and a posterior for each run, the first run as reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Theory:
    """The prior or the posterior field theory of a run, by the run's number."""

    run: int
    state: str


@dataclass(frozen=True)
class Pairs:
    """Theories and contrasts of a comparison.

    Attributes
    ----------
    theories
        The posteriors in the order of the runs, then their priors.
    contrasts
        (theory, reference) by their numbers in ``theories``: of one run the posterior against
        the prior; of several each posterior against the first one, then each prior likewise.
    """

    theories: tuple[Theory, ...]
    contrasts: tuple[tuple[int, int], ...]

    @staticmethod
    def of(runs: int) -> Pairs:
        """Return the pairs of a number of runs.

        Examples
        --------
        >>> Pairs.of(1).contrasts, Pairs.of(2).contrasts
        (((0, 1),), ((1, 0), (3, 2)))
        """
        theories = tuple(Theory(run, state) for state in ("posterior", "prior") for run in range(runs))
        if runs == 1:
            return Pairs(theories, ((0, 1),))
        return Pairs(
            theories,
            tuple((start + run, start) for start in (0, runs) for run in range(1, runs)),
        )

    def names(self, runs: Sequence[str]) -> list[str]:
        """Return the theories' names: the state alone for one run."""
        if len(runs) == 1:
            return [theory.state for theory in self.theories]
        return [f"{runs[theory.run]}, {theory.state}" for theory in self.theories]
