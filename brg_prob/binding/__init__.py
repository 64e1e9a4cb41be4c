"""Columns of a table to arguments of a model, by name; neither jax nor the model is run.

A column named like an argument goes to that argument, in its own dtype; the input columns that are left are
stacked into x, (n, d); the target goes to the argument of its name, else to y. The command line asks here
before jax is loaded, of what the source of a model says; :func:`brg_prob.bind` asks of the model itself.
"""

from brg_prob.binding.arrange import Arrangement, arrange
from brg_prob.binding.roles import Call, Roles, roles_of, roles_without_table
from brg_prob.binding.signature import Argument, Signature
from brg_prob.binding.source import Columns, columns_of

__all__ = [
    "Argument",
    "Arrangement",
    "Call",
    "Columns",
    "Roles",
    "Signature",
    "arrange",
    "columns_of",
    "roles_of",
    "roles_without_table",
]
