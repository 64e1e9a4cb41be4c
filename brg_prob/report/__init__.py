"""The report: one HTML file from a run's tree and summary, nothing computed again."""

from brg_prob.report.comparison_page import render_comparison
from brg_prob.report.html import Reportable, render_report, write_report

__all__ = ["Reportable", "render_comparison", "render_report", "write_report"]
