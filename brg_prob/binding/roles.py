"""Which column goes to which argument of a model: names only, no values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brg_prob.binding.signature import OBSERVED, Signature
from brg_prob.binding.source import Columns
from brg_prob.options import UsageError, nearest

_NUMBERS = ("number", "boolean", "time")
_CODED = ("category", "boolean")
_SIZE = re.compile(r"[DGJKLMNPS]|n|[nN]_.+|num_.+|size")
"""Names of arguments that are sizes by custom, and never get the inputs unless they are named x or X."""
_MATRIX = re.compile(
    r"[xX].*|features?|inputs?|covariates?|predictors?|regressors?|design|data", re.IGNORECASE
)
"""Names of arguments that may get the columns left over although others are columns by name; any other is
more likely a column that is missing or misspelt."""
_SUFFIXES = ("_idx", "_id", "_code", "_index")
"""An argument ``species_idx`` gets the codes of a column ``species`` if no column has its own name."""


@dataclass(frozen=True)
class Call:
    """How a model is called with the rows of x and y: which argument gets what. Hashable.

    Attributes
    ----------
    stack
        The argument that gets the stacked columns (n, d), or None.
    columns
        Names of the columns that are stacked, in order; none where there is no table.
    bound
        (argument, column, ``"int"`` or ``"float"``) for each of the last columns of x, which go to an
        argument of their own, (n,).
    observed
        The arguments that get y; several get a column of it each.
    options
        (argument, value) of those that are set by options.
    positional
        Arguments that can only be passed by their place.
    direct
        Whether ``model(x, y)`` is all that it takes.
    """

    stack: str | None
    columns: tuple[str, ...] = ()
    bound: tuple[tuple[str, str, str], ...] = ()
    observed: tuple[str, ...] = (OBSERVED,)
    options: tuple[tuple[str, Any], ...] = ()
    positional: tuple[str, ...] = ()
    direct: bool = False


@dataclass(frozen=True)
class Roles:
    """What each column of a table is to a model.

    Attributes
    ----------
    targets
        Columns that are observed.
    observed
        Arguments that get them: one for all, or one each.
    named
        Argument → column that it gets.
    stack
        Argument that gets the stacked columns, or None.
    stacked
        These columns, in order.
    options
        Argument → value set by an option.
    notes
        A sentence for each thing that the names alone do not say.
    """

    targets: tuple[str, ...]
    observed: tuple[str, ...]
    named: dict[str, str]
    stack: str | None
    stacked: tuple[str, ...]
    options: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are used, each once: inputs, arguments, targets."""
        return tuple(dict.fromkeys([*self.stacked, *self.named.values(), *self.targets]))

    def call(self, signature: Signature, dtypes: Mapping[str, str]) -> Call:
        """Return how the model is called, its columns having these dtypes."""
        places = [a.name for a in signature.arguments if not a.keyword_only]
        direct = places[:2] == [self.stack, *self.observed] and not self.named and not self.options
        bound = tuple((name, column, dtypes[column]) for name, column in self.named.items())
        return Call(
            self.stack,
            self.stacked,
            bound,
            self.observed,
            tuple(self.options.items()),
            signature.positional,
            direct,
        )


def roles_of(
    columns: Columns,
    signature: Signature,
    *,
    target: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Roles:
    """Return which column of a table goes to which argument of a model.

    Parameters
    ----------
    columns
        The table.
    signature
        The model's arguments.
    target
        Columns to be observed; none of them (``()``): nothing is. Default: the column named like the argument
        that is observed, else "y", else the last that no other argument claims.
    inputs
        Columns to be stacked; default: all that are left over.
    options
        Arguments set by hand.

    Raises
    ------
    UsageError
        One line: an unknown, repeated or doubly used column, an unknown option, no target or no argument for
        it, a required argument without a value, inputs that no argument takes.
    """
    options = dict(options or {})
    signature.check(options)
    wanted = None if inputs is None else _names(inputs)
    targets = None if target is None else _names(target)
    _check_names(columns, wanted or (), targets or ())
    asked = targets is not None
    targets, observed = _observed(columns, signature, targets, wanted or (), options)
    free = [name for name in columns.values if name not in targets]
    named, notes = _named(columns, signature, free, (*observed, *options), wanted)
    rest = [name for name in free if name not in options] if wanted is None else wanted
    left = [name for name in rest if name not in named.values()]
    stack = signature.stack
    if stack is None and left and all(columns.kinds.get(name) in _NUMBERS for name in left):
        stack = _first_array(signature, (*observed, *options, *named, *columns.unusable))
        if stack is not None and named and wanted is None and not _MATRIX.fullmatch(stack):
            stack = None
    if stack is None and left and (wanted is not None or signature.variadic):
        raise UsageError(_nowhere(signature, left))
    stacked = tuple(left) if stack is not None else ()
    given = {*observed, *options, *named}
    if stack is not None and stacked:
        given.add(stack)
    _require(columns, signature, given, wanted)
    unused = [*left, *columns.passed_over] if stack is None and wanted is None else []
    notes += _about_the_rest(signature, stacked, stack, [name for name in unused if name not in options])
    if not asked and targets and targets[0] not in (*observed, OBSERVED):
        notes.append(f"{targets[0]}, the last column, is what is observed")
    notes += [
        f"the argument {name} is set by hand, not by the column {name}" for name in options if name in free
    ]
    return Roles(targets, observed, named, stack if stacked else None, stacked, options, tuple(notes))


def roles_without_table(signature: Signature, options: Mapping[str, Any]) -> Roles:
    """Return the roles in a draw of the prior: the inputs, options, and nothing else.

    Raises
    ------
    UsageError
        One line: an unknown option, a required argument without a value, no argument that takes inputs.
    """
    signature.check(options)
    target = signature.target(options)
    observed = () if target is None else (target,)
    stack = signature.stack or _first_array(signature, (*observed, *options))
    for argument in signature.arguments:
        if argument.required and argument.name not in (stack, *observed, *options):
            by_hand = f", or --model.{argument.name} VALUE" if signature.plain else ""
            raise UsageError(
                f"{signature.name!r} needs {argument.name!r}; give a table with such a column, --data "
                f"FILE{by_hand}"
            )
    if stack is None:
        raise UsageError(
            f"{signature.name!r} takes no inputs, so there is no grid to draw from its prior on; give a "
            "table, --data FILE"
        )
    return Roles((), observed, {}, stack, (), dict(options), ())


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given)


def _check_names(columns: Columns, inputs: Sequence[str], targets: Sequence[str]) -> None:
    """Refuse a name that is no column, one given twice, and one that is both input and target."""
    for name in (*inputs, *targets):
        if name in columns.unusable:
            raise UsageError(columns.unusable[name])
        if name not in columns.values:
            role = "input" if name in inputs else "target"
            raise UsageError(
                f"{columns.source} has no column {name!r} for the {role}"
                f"{nearest(name, columns.values) or f'; it has {columns.listed}'}"
            )
        if list(inputs).count(name) > 1 or list(targets).count(name) > 1:
            raise UsageError(f"column {name!r} of {columns.source} is given twice; name it once")
        if name in inputs and name in targets:
            raise UsageError(f"column {name!r} of {columns.source} is both input and target; choose one")


def _observed(
    columns: Columns,
    signature: Signature,
    targets: tuple[str, ...] | None,
    inputs: Sequence[str],
    options: Mapping[str, Any],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that are observed, and the arguments that get them."""
    default = signature.target(options)
    if targets is None:
        if default is None:
            raise UsageError(_unclear(signature, options))
        return _default_target(columns, signature, default, inputs), (default,)
    arguments = {a.name: a for a in signature.arguments if a.name != signature.stack}
    if targets and all(name in arguments for name in targets):
        for name in targets:
            if name in options:
                raise UsageError(f"{name!r} is observed and set by --model.{name}; leave one of them out")
            if arguments[name].required and default == OBSERVED != name:
                raise UsageError(
                    f"column {name!r} is an argument of {signature.name!r}; leave it out of --target"
                )
        return targets, targets
    if targets and default is None:
        raise UsageError(_unclear(signature, options, targets[0]))
    return targets, () if default is None else (default,)


def _default_target(
    columns: Columns, signature: Signature, argument: str, inputs: Sequence[str]
) -> tuple[str, ...]:
    """Return the column that is observed where none is named."""
    rest = [name for name in columns.values if name not in inputs]
    claimed = {a.name for a in signature.arguments} - {signature.stack}
    unclaimed = [name for name in rest if name not in claimed]
    by_name = [name for name in rest if name in claimed and name != argument]
    if by_name and argument.lower() != OBSERVED and not {argument, OBSERVED} & set(rest):
        raise UsageError(
            f"{signature.name!r} observes {argument!r}, which is no column of {columns.source}"
            f"{nearest(argument, rest) or f'; it has {columns.listed}'}; else name the column in --target"
        )
    for name in (argument, OBSERVED, *(unclaimed or rest)[-1:]):
        if name in rest:
            return (name,)
    raise UsageError(
        f"{columns.source} leaves no target column (columns: {columns.listed}); give one beside the inputs"
    )


def _unclear(signature: Signature, options: Mapping[str, Any], target: str = "") -> str:
    """Return the line that asks which argument is observed."""
    empty = signature.without_value(options)
    how = f"{' and '.join(map(repr, empty))} both have" if empty else "none is called y or has"
    if target:
        return (
            f"which argument of {signature.name!r} gets the target {target!r}? {how} the default None; call "
            f"one {target!r} or 'y'"
        )
    return (
        f"which column does {signature.name!r} observe? {how} the default None; name it in --target "
        "(several: COL,COL), or call "
        "the argument y"
    )


def _named(
    columns: Columns,
    signature: Signature,
    free: Sequence[str],
    taken: Sequence[str],
    wanted: Sequence[str] | None,
) -> tuple[dict[str, str], list[str]]:
    """Return argument → column of the same name, or whose codes it asks for, and what to say of it."""
    found: dict[str, str] = {}
    notes = []
    for argument in signature.arguments:
        if argument.name in (*taken, signature.stack):
            continue
        column = argument.name if argument.name in free else _coded(columns, argument.name, free)
        if column is None:
            continue
        if column in (wanted or ()) and not argument.required and signature.stack is not None:
            continue  # an argument that need not be given, and a column that is to be stacked
        found[argument.name] = column
        if column != argument.name:
            notes.append(f"the argument {argument.name} gets the codes of the column {column}")
    return found, notes


def _coded(columns: Columns, argument: str, free: Sequence[str]) -> str | None:
    """Return the column of categories whose codes an argument such as ``species_idx`` asks for."""
    for suffix in _SUFFIXES:
        name = argument.removesuffix(suffix)
        if name != argument and name in free and columns.kinds.get(name) in _CODED:
            return name
    return None


def _first_array(signature: Signature, taken: Sequence[str]) -> str | None:
    """Return the first required argument that nothing else fills and that may be an array."""
    free = [a for a in signature.arguments if a.required and not a.keyword_only and a.name not in taken]
    return next((a.name for a in free if not a.scalar and not _SIZE.fullmatch(a.name)), None)


def _nowhere(signature: Signature, left: Sequence[str]) -> str:
    """Return the line on inputs that no argument takes."""
    how = "takes its inputs as *args, which have no names" if signature.variadic else "has no argument for it"
    return f"input {left[0]!r}: {signature.name!r} {how}; give it an argument {left[0]} or x"


def _require(columns: Columns, signature: Signature, given: set[str], wanted: Sequence[str] | None) -> None:
    """Refuse a required argument that nothing fills."""
    for argument in signature.arguments:
        if not argument.required or argument.name in given:
            continue
        if argument.name in columns.unusable:
            raise UsageError(columns.unusable[argument.name])
        if argument.name == signature.stack:
            raise UsageError(
                f"no column of {columns.source} is left for the inputs {argument.name} of {signature.name!r};"
                f" name them in --inputs, or the target in --target (columns: {columns.listed})"
            )
        by_hand = f", or --model.{argument.name} VALUE ({argument.name}=VALUE)" if signature.plain else ""
        raise UsageError(
            f"{signature.name!r} needs {argument.name!r}, which is no column of {columns.source} (columns: "
            f"{columns.listed}); give such a column{by_hand}"
        )


def _about_the_rest(
    signature: Signature, stacked: Sequence[str], stack: str | None, unused: Sequence[str]
) -> list[str]:
    """Return what is to be said of columns that are stacked under another name, or not used."""
    if unused:
        return [f"not used, for no argument of {signature.name} takes them: {', '.join(unused)}"]
    if stacked and stack != signature.stack:
        return [f"the argument {stack} gets the input columns as one array: {', '.join(stacked)}"]
    return []
