"""Run the benchmarks; print medians as ratios to a peer in the same run."""

from __future__ import annotations

import argparse
import importlib
import sys

import jax

from benchmarks.harness import measure, peak_memory, table, write

CASES = (
    "fisher_spectrum",
    "exact_posterior",
    "flow_draws",
    "relu_kernel",
    "tanh_kernel",
    "stepped_sgd",
    "fisher_diagonal",
    "leading_spectrum",
    "readout_posterior",
    "nuts_overhead",
    "import_time",
    "demo",
)


def main() -> int:
    """Run the cases asked for; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--small", action="store_true", help="toy sizes, for tests")
    parser.add_argument("--only", choices=CASES, action="append", help="run this case only (repeatable)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", help="write the rows as JSON")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for name in options.only or CASES:
        module = f"benchmarks.{name}"
        case = importlib.import_module(module).prepare(options.small)
        row = measure(name, case, options.repeats)
        row["peak_mib"] = peak_memory(module, options.small) if case.memory_bar else None
        rows.append(row)
        print(table(rows).splitlines()[-1], file=sys.stderr)
    print(table(rows))
    if options.out:
        write(rows, options.out)
    missed = [
        row["name"]
        for row in rows
        if (row["bar"] and row["ratio"] > row["bar"])
        or (row["seconds_bar"] and row["ours_s"] > row["seconds_bar"])
        or (row["peak_mib"] and row["memory_bar_mib"] and row["peak_mib"] > row["memory_bar_mib"])
    ]
    if options.small:  # bars are for full sizes
        return 0
    print("bars missed: " + ", ".join(missed) if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
