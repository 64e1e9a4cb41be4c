"""Where stages are computed, timed, shown, kept, and found again if nothing they depend on has changed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import xarray as xr

from brg_prob.digest import code_digest, content_digest
from brg_prob.pipeline.run_result import versions
from brg_prob.store import Stages, described_stage

_SECONDS = "stage_seconds"


@runtime_checkable
class Expects(Protocol):
    """A progress that can be told how many stages there are."""

    def expect(self, stages: int) -> None:
        """Take the number of stages, loading and writing included."""


@runtime_checkable
class Says(Protocol):
    """A progress that can show sentences before the first stage."""

    def say(self, sentences: Iterable[str]) -> None:
        """Show them."""


class StageRunner:
    """Computes the stages of one run.

    Parameters
    ----------
    progress
        ``progress(stage)`` is entered around each stage; None shows nothing.
    stages
        Where finished stages are kept and found; None computes all of them.
    basis
        What every stage depends on, by content.
    """

    def __init__(self, progress: Any, stages: Stages | None, *basis: Any) -> None:
        self.seconds: dict[str, float] = {}
        self.described: dict[str, Any] = {}
        self._progress, self._expected = progress, 0
        self._stages = stages
        # the same numbers come from the same code on the same kind of machine, at one precision
        where = (jax.default_backend(), bool(jax.config.jax_enable_x64), versions())
        self._basis = "" if stages is None else content_digest(code_digest(), *where, *basis)

    def expect(self, stages: int) -> None:
        """Tell a progress bar how many stages there are."""
        if stages != self._expected and isinstance(self._progress, Expects):
            self._progress.expect(stages + 2)  # loading came before, the report comes after
        self._expected = stages

    def say(self, sentences: Iterable[str]) -> None:
        """Show what is known before the first stage."""
        if isinstance(self._progress, Says):
            self._progress.say(sentences)

    def __call__(
        self, name: str, compute: Callable[[], xr.DataTree], *depends: Any, branch: str = ""
    ) -> xr.DataTree:
        """Return a stage: as it was finished earlier from the same content, or computed now and kept.

        Parameters
        ----------
        name
            Name of the stage.
        compute
            Returns its groups, with what the root shall say as attributes.
        depends
            What it depends on beside the basis.
        branch
            Where in the run's tree its groups will stand; "" is the root.
        """
        if self._stages is None:
            with self._timed(name):
                return compute()
        digest = content_digest(self._basis, name, *depends)
        tree = self._stages.find(name, digest)
        if tree is None:
            with self._timed(name):
                tree = compute()
            tree.attrs[_SECONDS] = json.dumps(self.seconds[name])
            self._stages.keep(name, digest, tree)
        else:
            self._show(name)
        self.described[name] = described_stage(digest, tree, branch)
        self.seconds[name] = json.loads(tree.attrs.pop(_SECONDS))
        return tree

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Time one stage and show it."""
        begin = time.perf_counter()
        with self._progress(name) if self._progress is not None else contextlib.nullcontext():
            yield
        self.seconds[name] = round(time.perf_counter() - begin, 3)

    def _show(self, name: str) -> None:
        """Show a stage that is passed over."""
        if self._progress is not None:
            with self._progress(name):
                pass
