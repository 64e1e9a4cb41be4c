"""Files to named columns: CSV, NPZ, NetCDF, Parquet.

Every mistake in a file is a :class:`TableError`, one line with the offending value and the remedy, so that
the command line can print it as it is. This room imports neither jax nor numpyro: tables are checked before
they are loaded.

Text is read by the whole column: dates become decimal years, days, hours or seconds (:class:`Calendar` turns
them back into text), yes and no 1 and 0, labels codes in alphabetical order; thousands separators are removed
and a decimal comma is read. What was recognised is said in ``Table.notes``; what can be read in two ways is
refused with both.

A name may carry its unit, ``name [unit]``, as in ``year [yr]``: the column is then called ``name``. NetCDF
files and Parquet fields say it in their metadata, under ``units``. Lines of a CSV file that begin with ``#``
are comments, unless their first cell is ``#N/A`` or another of a spreadsheet's words.
"""

from brg_prob.tables.calendar import Calendar
from brg_prob.tables.names import TableError
from brg_prob.tables.readers import FORMATS
from brg_prob.tables.table import Table, read_table

__all__ = [
    "FORMATS",
    "Calendar",
    "Table",
    "TableError",
    "read_table",
]
