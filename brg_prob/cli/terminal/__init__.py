"""What is said in the terminal: a progress bar while a run goes on, tables at the end.

Names load on first use: the bar is shown while a table is checked, before jax is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brg_prob.cli.terminal.comparison_tables import print_comparison
    from brg_prob.cli.terminal.progress import Stages
    from brg_prob.cli.terminal.run import print_result

_HOMES = {"Stages": "progress", "print_comparison": "comparison_tables", "print_result": "run"}

__all__ = ["Stages", "print_comparison", "print_result"]


def __getattr__(name: str) -> Any:
    """Load a public name from its file."""
    if name not in _HOMES:
        raise AttributeError(f"module 'brg_prob.cli.terminal' has no attribute {name!r}")
    return getattr(importlib.import_module(f"brg_prob.cli.terminal.{_HOMES[name]}"), name)
