"""Kinds of models that a reader of models can trip over, three inputs each, with answers from elsewhere.

One file a kind: its models, each a MODEL.py of the command line, and ``cases``, which makes tables with a
seed and computes what is right by closed forms or quadrature.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from exams.kinds.case import Case

FOLDER = Path(__file__).parent
KINDS = tuple(sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "case")))


def cases_of(kind: str, *, seed: int = 1) -> list[Case]:
    """Return the cases of a kind."""
    found: list[Case] = importlib.import_module(f"exams.kinds.{kind}").cases(np.random.default_rng(seed))
    return found


def model_of(kind: str, case: Case) -> object:
    """Return the model of a case."""
    return getattr(importlib.import_module(f"exams.kinds.{kind}"), case.model)
