"""The pipeline from data to verdict, callable from Python: :func:`run`, its result, and reading it back."""

from brg_prob.pipeline.run_result import Run, Source, load_run
from brg_prob.pipeline.run_stages import run

__all__ = ["Run", "Source", "load_run", "run"]
