"""A progress bar while a run goes on; jax is not needed for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

WIDEST = 100
"""Columns of a terminal that are used."""


class Stages:
    """A progress bar on stderr over the stages of a run; silent where stderr is no terminal, or on request.

    ``with Stages() as progress: with progress("posterior"): …``
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._quiet = quiet
        console = console or Console(stderr=True)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            TextColumn("stage {task.completed:.0f}", style="dim"),
            TimeElapsedColumn(),
        )
        hidden = quiet or not console.is_terminal
        self._bar = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self._bar.stop()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Show a stage while it lasts."""
        self._bar.update(self._task, description=escape(stage))
        yield
        self._bar.advance(self._task)

    def say(self, sentences: Iterable[str]) -> None:
        """Print on stdout what is known before anything is computed, above the bar."""
        if self._quiet or not (found := list(sentences)):
            return
        self._bar.stop()  # it would take over stdout
        out = Console(highlight=False, width=min(Console().width, WIDEST))
        for sentence in found:
            out.print(Text(f"· {sentence}"))
        out.print()
        self._bar.start()

    def expect(self, stages: int) -> None:
        """Say how many stages there are in all."""
        self._bar.update(self._task, total=stages)
