"""What is said in the terminal: a progress bar while a run goes on, tables at the end."""

from brg_prob.terminal.comparison import print_comparison
from brg_prob.terminal.run import Stages, print_result

__all__ = ["Stages", "print_comparison", "print_result"]
