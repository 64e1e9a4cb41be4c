"""``import brg_prob`` against ``import numpyro, arviz``, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import Case


def _import(what: str) -> None:
    """Import in a fresh interpreter."""
    subprocess.run([sys.executable, "-c", f"import {what}"], check=True)


def prepare(small: bool) -> Case:
    """Return the two imports; names of brg_prob load on first use, so this is the import alone."""
    return Case(
        lambda: _import("brg_prob"),
        lambda: _import("numpyro, arviz"),
        lambda ours, peer: {},
        "numpyro, arviz",
        bar=1.2,
        note="names load on first use; `eager_s` imports every public name",
        extra={} if small else {"eager_s": _eager()},
    )


def _eager() -> float:
    """Return the seconds of importing every public name."""
    from benchmarks.harness import seconds

    code = "brg_prob; [getattr(brg_prob, name) for name in brg_prob.__all__]"
    return seconds(lambda: _import(code))[0]
