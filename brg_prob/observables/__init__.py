"""What a run shows beside its verdict: the theories before and after training, the data's spectrum, trust.

Each function returns one group of a run's tree, an ``xarray.Dataset`` in the record's own
units: fields are multiplied by the scale of its standardisation, inputs keep their unit,
momenta are inverse inputs. What the inputs do not allow (no grid, no prediction) is left out.
"""

from brg_prob.observables.convergence_table import convergence_table
from brg_prob.observables.data_spectrum import data_spectrum
from brg_prob.observables.field_theory import field_theory
from brg_prob.observables.slides import slides
from brg_prob.observables.trust import trust

__all__ = ["convergence_table", "data_spectrum", "field_theory", "slides", "trust"]
