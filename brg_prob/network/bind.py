"""Columns of a table to the arguments of a model: the network of x alone, and x and y for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from brg_prob.binding import Arrangement, Signature, arrange, columns_of, roles_of
from brg_prob.network.bound import bound
from brg_prob.options import UsageError

_READOUT = ("features", "readout_prior", "sample_hidden")


@dataclass(frozen=True, eq=False, kw_only=True)
class Binding(Arrangement):
    """A model and the columns of a table that go to its arguments.

    ``brg_prob.run(binding.network, binding.x, binding.y, key=…)`` runs it.

    Attributes
    ----------
    model
        The model as it was given.
    """

    model: Any

    @property
    def network(self) -> Any:
        """The model as ``network(x, y=None)``.

        Raises
        ------
        UsageError
            The model is a class.
        """
        if isinstance(self.model, type):
            raise UsageError(
                f"{self.model.__name__} is a class; bind an instance of it, or give one to Binding.of"
            )
        return self.of(self.model)

    def of(self, model: Any) -> Any:
        """Return another model with the same arguments, an instance of a class for one, as a network of x."""
        return bound(model, self.call)


def bind(
    table: Any,
    model: Callable[..., Any],
    *,
    target: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    drop_missing: bool = False,
    **options: Any,
) -> Binding:
    """Bind the columns of a table to the arguments of a model, by name.

    A column named like an argument goes to that argument, in its own dtype: whole numbers, booleans and
    categories as integers, measured numbers as floats. The input columns that are left are stacked into x,
    else X, else the first array argument without a column: (n, d) float. The target goes to the argument of
    its name, else to y, else to the only argument whose default is None; several targets that are all named
    like arguments go to one each, otherwise together to y, (n, o).

    Parameters
    ----------
    table
        From :func:`brg_prob.tables.read_table`, a mapping of names to 1-D arrays, or a data frame. Text and
        categories become codes of their levels, and are never stacked.
    model
        A NumPyro model ``model(x, y=None, …)``; or ``model(flipper, species, body_mass=None)``, or
        ``model(y=None)``; or a class of networks, an instance of which :meth:`Binding.of` takes.
    target
        The column that is observed, or several; ``()``: none is. Default: the one named like the argument
        that is observed, else "y", else the last that no other argument claims.
    inputs
        The columns to stack; default: all that are left over.
    drop_missing
        Leave out rows with a missing input in place of refusing them. A missing target stays in y as NaN,
        except for a linear readout.
    **options
        Values of arguments that are no columns, such as ``J=8``; of one with a name that this function has
        itself (``target``) by ``functools.partial(model, target=…)``.

    Returns
    -------
    Binding
        With ``network``, ``x`` (n, d), ``y`` (n,) or (n, o), ``inputs``, ``target``, ``arguments`` and
        ``notes``.

    Raises
    ------
    UsageError
        A ValueError of one line: a table, column, target, argument or option that does not fit.

    Examples
    --------
    >>> def model(flipper, species, body_mass=None, *, scale=1.0):
    ...     return scale * flipper, species
    >>> table = {"species": ["b", "a"], "flipper": [1.5, 2.5], "body_mass": [3.0, 4.0]}
    >>> penguins = bind(table, model, scale=2.0)
    >>> penguins.arguments, penguins.y.tolist(), penguins.levels
    ({'flipper': 'flipper', 'species': 'species'}, [3.0, 4.0], {'species': ('a', 'b')})
    >>> [value.tolist() for value in penguins.network(penguins.x)]
    [[3.0, 5.0], [1, 0]]
    """
    return bound_columns(
        table, model, target=target, inputs=inputs, drop_missing=drop_missing, options=options
    )


def bound_columns(
    table: Any,
    model: Callable[..., Any],
    *,
    name: str = "",
    target: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    drop_missing: bool = False,
    options: Mapping[str, Any],
) -> Binding:
    """Bind as :func:`bind` does, with ``name`` for the model in messages, and options of any name."""
    columns, signature = columns_of(table), Signature.of(model, name)
    roles = roles_of(columns, signature, target=target, inputs=inputs, options=options)
    found = arrange(
        columns,
        signature,
        roles,
        drop_missing=drop_missing,
        readout=is_readout(model),
        single=not jax.config.jax_enable_x64,
    )
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return Binding(**values, model=model)


def is_readout(network: Any) -> bool:
    """Return whether a network, or its class, has a linear readout."""
    return all(hasattr(network, name) for name in _READOUT)
