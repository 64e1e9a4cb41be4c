"""A record as a series: whether a straight line stands out of it, and an annual cycle."""

from brg_prob.series.seasons import AnnualCycle, annual_cycle
from brg_prob.series.trend import Line, straight_line

__all__ = ["AnnualCycle", "Line", "annual_cycle", "straight_line"]
