"""Benchmark two routines on the same inputs: outputs equal first, compile apart, medians, peak memory.

A case is a module with ``prepare(small) -> Case``. :func:`measure` runs ours and the peer in
turn, A B A B …, so that a drifting machine cancels in the ratio; peak memory is that of a fresh
process that prepares the inputs and runs ours once.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """Two routines that compute the same thing.

    Attributes
    ----------
    ours, peer
        Called without arguments; return an array that is ready (blocked until computed).
        Without a peer only seconds and memory are judged.
    compare
        Raises AssertionError unless the two outputs agree.
    peer_name
        What the peer is.
    bar
        Largest ratio ours/peer that the project promises, or None.
    memory_bar, seconds_bar
        Largest peak memory of the process, MiB, and largest median seconds, or None.
    work
        How many times the peer's work ours does; the ratio is per unit of work.
    in_process
        What the memory is measured of, where ``ours`` starts a process of its own.
    note
        What is in the timing and what is not.
    """

    ours: Callable[[], Any]
    peer: Callable[[], Any] | None
    compare: Callable[[Any, Any], dict[str, float]]
    peer_name: str
    bar: float | None = None
    memory_bar: float | None = None
    seconds_bar: float | None = None
    work: float = 1.0
    in_process: Callable[[], Any] | None = None
    note: str = ""
    extra: dict[str, float] = field(default_factory=dict)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return wall seconds and the result of one call."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure(name: str, case: Case, repeats: int) -> dict[str, Any]:
    """Return medians, ratio and compile time of a case."""
    first, ours = seconds(case.ours)
    peer = seconds(case.peer)[1] if case.peer else None
    agreement = case.compare(ours, peer)
    a, b = [], []
    for _ in range(repeats):
        a.append(seconds(case.ours)[0])
        b.append(seconds(case.peer)[0] if case.peer else math.nan)
    ratios = [x / (case.work * y) for x, y in zip(a, b, strict=True)]
    return {
        "name": name,
        "peer": case.peer_name,
        "ours_s": statistics.median(a),
        "peer_s": statistics.median(b) if case.peer else None,
        "ratio": statistics.median(ratios) if case.peer else None,
        "work": case.work,
        "ratio_range": [min(ratios), max(ratios)] if case.peer else None,
        "first_call_s": first,
        "bar": case.bar,
        "memory_bar_mib": case.memory_bar,
        "seconds_bar": case.seconds_bar,
        "agreement": agreement,
        "repeats": repeats,
        "note": case.note,
        **case.extra,
    }


def peak_memory(module: str, small: bool) -> float:
    """Return the peak resident memory in MiB of a fresh process that runs ours once.

    Linux' VmHWM where there is one: ``ru_maxrss`` of a child also remembers the size of the
    parent it was forked from.
    """
    code = (
        "import jax, importlib, resource\n"
        "jax.config.update('jax_enable_x64', True)\n"
        f"case = importlib.import_module('{module}').prepare({small!r})\n"
        "(case.in_process or case.ours)()\n"
        "import pathlib\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "lines = status.read_text().splitlines() if status.exists() else []\n"
        "found = [float(line.split()[1]) for line in lines if line.startswith('VmHWM')]\n"
        "print((found or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1024)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(found.stdout.splitlines()[-1])


def close(tolerance: float) -> Callable[[Any, Any], dict[str, float]]:
    """Return a comparison: largest deviation relative to the largest entry below the tolerance."""

    def compare(ours: Any, peer: Any) -> dict[str, float]:
        ours, peer = np.asarray(ours), np.asarray(peer)
        deviation = float(np.abs(ours - peer).max() / np.abs(peer).max())
        assert deviation < tolerance, f"outputs differ by {deviation:.2e}"
        return {"max_relative_deviation": deviation}

    return compare


def table(rows: list[dict[str, Any]]) -> str:
    """Return a table of at most 80 columns."""
    lines = [f"{'case':<18}{'ours s':>9}{'peer s':>9}{'ratio':>7}{'bar':>6}{'MiB':>7}{'bar':>6}  peer"]
    for row in rows:
        bar = "-" if row["bar"] is None else f"{row['bar']:.2g}"
        peer = "-" if row["peer_s"] is None else f"{row['peer_s']:.3f}"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        memory = "-" if row.get("peak_mib") is None else f"{row['peak_mib']:.0f}"
        limit = "-" if row["memory_bar_mib"] is None else f"{row['memory_bar_mib']:.0f}"
        lines.append(
            f"{row['name']:<18}{row['ours_s']:>9.3f}{peer:>9}{ratio:>7}"
            f"{bar:>6}{memory:>7}{limit:>6}  {row['peer'][:18]}"
        )
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], path: str) -> None:
    """Write the rows as JSON."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")


__all__ = ["Case", "close", "measure", "peak_memory", "seconds", "table", "write"]
