"""The arguments of a model, read off the callable or off its source."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from brg_prob.options import LITERAL, Option, UsageError, nearest

STACKS = ("x", "X")
"""Arguments that always get the inputs as one array (n, d), even of a column of that name."""
OBSERVED = "y"
_SCALARS = ("int", "float", "bool", "str")
_LONGEST = 40


@dataclass(frozen=True)
class Argument:
    """One argument of a model.

    Attributes
    ----------
    name
        Its name.
    default
        Its default as text, or None where it is required.
    annotation
        Its type as written, or nothing.
    positional_only, keyword_only
        How it may be passed; neither: either way.
    help
        What the docstring says of it, one sentence.
    """

    name: str
    default: str | None = None
    annotation: str = ""
    positional_only: bool = False
    keyword_only: bool = False
    help: str = ""

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is None

    @property
    def scalar(self) -> bool:
        """Whether its type says that it is no array."""
        return self.annotation in _SCALARS

    @property
    def option(self) -> Option:
        """The flag that sets it, where it is no column."""
        annotation = self.annotation if self.scalar else LITERAL
        text = self.help or f"argument {self.name}, where it is no column"
        return Option(self.name, annotation, self.default, text)


@dataclass(frozen=True)
class Signature:
    """The arguments of a model.

    Attributes
    ----------
    name
        Name of the model, for messages.
    arguments
        Its named arguments, in order.
    variadic
        Whether it also takes ``*args``.
    plain
        Whether its arguments are its options; those of a dataclass are its fields.
    """

    name: str
    arguments: tuple[Argument, ...]
    variadic: bool = False
    plain: bool = True

    @classmethod
    def of(cls, model: Callable[..., Any], name: str = "") -> Self:
        """Return the arguments of a callable, or of a class whose instances are called.

        Decorated functions, ``functools.partial`` and NumPyro's handlers are seen through. What does not
        tell its arguments is called as ``model(x, y)``.

        Examples
        --------
        >>> def model(flipper, *, body_mass=None): ...
        >>> [argument.name for argument in Signature.of(model).arguments], Signature.of(model).target()
        (['flipper', 'body_mass'], 'body_mass')
        """
        name = name or getattr(model, "__name__", type(model).__name__)
        plain = not (dataclasses.is_dataclass(model) or isinstance(model, type))
        parameters = _parameters(model)
        named = tuple(_argument(p) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        if parameters and not named:
            return cls(name, _UNTOLD, plain=plain)
        return cls(name, named, any(p.kind is p.VAR_POSITIONAL for p in parameters), plain)

    @classmethod
    def of_source(
        cls,
        node: ast.FunctionDef,
        name: str,
        *,
        method: bool = False,
        described: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the arguments of a function, or of a class by its ``__call__``, without running it."""
        found = node.args
        places = [*found.posonlyargs, *found.args]
        defaults = [None] * (len(places) - len(found.defaults)) + [ast.unparse(d) for d in found.defaults]
        pairs = [(a, default, False) for a, default in zip(places, defaults, strict=True)][int(method) :]
        for a, value in zip(found.kwonlyargs, found.kw_defaults, strict=True):
            pairs.append((a, None if value is None else ast.unparse(value), True))
        arguments = tuple(
            Argument(
                a.arg,
                default,
                "" if a.annotation is None else ast.unparse(a.annotation),
                a in found.posonlyargs,
                keyword,
                (described or {}).get(a.arg, ""),
            )
            for a, default, keyword in pairs
        )
        variadic = found.vararg is not None
        if not arguments and (variadic or found.kwarg is not None):
            return cls(name, _UNTOLD, plain=not method)
        return cls(name, arguments, variadic, plain=not method)

    @property
    def stack(self) -> str | None:
        """The argument that is always the stacked inputs."""
        return next((a.name for a in self.arguments if a.name in STACKS), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arguments, in order."""
        return tuple(a.name for a in self.arguments)

    @property
    def positional(self) -> tuple[str, ...]:
        """Arguments that can only be passed by their place."""
        return tuple(a.name for a in self.arguments if a.positional_only)

    def target(self, given: Mapping[str, Any] | None = None) -> str | None:
        """Return the argument that is observed: y, else the only one that is None by default, else Y.

        Parameters
        ----------
        given
            Arguments that are set by options.
        """
        if any(a.name == OBSERVED for a in self.arguments):
            return OBSERVED
        empty = self.without_value(given)
        return empty[0] if len(empty) == 1 else next((a.name for a in self.arguments if a.name == "Y"), None)

    def without_value(self, given: Mapping[str, Any] | None = None) -> list[str]:
        """Return the arguments, other than the stack, whose default is None."""
        return [
            a.name
            for a in self.arguments
            if a.default == "None" and a.name != self.stack and a.name not in (given or {})
        ]

    @property
    def options(self) -> tuple[Option, ...]:
        """The arguments that options may set: all but the inputs and the target."""
        if not self.plain:
            return ()
        fixed = (self.stack, self.target())
        return tuple(a.option for a in self.arguments if a.name not in fixed)

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise UsageError for an option that is no argument, or whose value no call can be written with."""
        known = {option.name for option in self.options}
        for name, value in options.items():
            if name not in known:
                has = f"its options are {', '.join(sorted(known))}" if known else "it has no options"
                raise UsageError(f"option '--model.{name}' is unknown; {has}{nearest(name, known)}")
            if not isinstance(value, bool | int | float | str | tuple | None):
                raise UsageError(
                    f"option {name} is a {type(value).__name__}; give a number, a boolean, text or a tuple "
                    "of these, or functools.partial(model, …)"
                )


_UNTOLD = (Argument("x", positional_only=True), Argument("y", "None", positional_only=True))


def _parameters(model: Any) -> list[inspect.Parameter]:
    """Return the parameters of a callable; of NumPyro's handlers those of the model within."""
    call = model.__call__ if isinstance(model, type) else model
    try:
        found = list(inspect.signature(call).parameters.values())[int(isinstance(model, type)) :]
    except (TypeError, ValueError):  # built in: it has none
        return [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
    told = any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found)
    inner = getattr(model, "fn", None)
    return _parameters(inner) if not told and callable(inner) and not isinstance(model, type) else found


def _argument(parameter: inspect.Parameter) -> Argument:
    """Return one parameter of a callable."""
    default = None if parameter.default is parameter.empty else repr(parameter.default)[:_LONGEST]
    kind = parameter.annotation
    annotation = "" if kind is parameter.empty else kind if isinstance(kind, str) else written(kind)
    return Argument(
        parameter.name,
        default,
        annotation,
        parameter.kind is parameter.POSITIONAL_ONLY,
        parameter.kind is parameter.KEYWORD_ONLY,
    )


def written(kind: Any) -> str:
    """Return a type as it would be written."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
