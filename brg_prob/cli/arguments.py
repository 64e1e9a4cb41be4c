"""Command-line flags read off the source of frozen dataclasses, before anything heavy is imported.

Engines, schemes and networks are dataclasses: their fields are options, documentation and
flags at once. Here their source is parsed, not run, so that a wrong flag or value is answered in
milliseconds, and a MODEL.py with a syntax error or without a model is refused before jax is loaded.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from brg_prob.binding.signature import OBSERVED, Argument, Signature
from brg_prob.options import Option, UsageError, nearest

HERE = Path(__file__).parents[1]
_STATEMENTS = ("sample", "factor")
"""Statements of NumPyro that make a function generative."""

ENGINES = {
    "ensemble": ("posterior/ensemble.py", "Ensemble"),
    "exact": ("posterior/exact.py", "Exact"),
    "gradient_flow": ("posterior/gradient_flow.py", "GradientFlow"),
    "laplace": ("posterior/laplace.py", "Laplace"),
    "nuts": ("posterior/nuts.py", "NUTS"),
    "sgd_exact": ("posterior/sgd_exact.py", "SgdExact"),
    "svi": ("posterior/variational.py", "SVI"),
}
AUTOMATIC = "auto"
"""No engine was named: ``exact`` for a linear readout, ``nuts`` for any other model."""
SCHEMES = {
    "diffusion": ("flow/diffusion.py", "Diffusion"),
    "shell": ("flow/shell.py", "Shell"),
    "tempering": ("flow/tempering.py", "Tempering"),
}
"""Name on the command line → file of this package and class."""

_WITHOUT_FIELDS = ("OneByOne", "Scheme")  # bases of engines and schemes, in files of their own


@dataclass(frozen=True)
class ModelSource:
    """What the text of a MODEL.py says about the networks in it, without running it.

    Attributes
    ----------
    path
        The file.
    name
        The chosen network.
    options
        Its fields, of a function its arguments beside inputs and target; None where the text does not tell
        (imported, decorated, built by a call).
    signature
        Its arguments, or None where the text does not tell.
    """

    path: Path
    name: str
    options: tuple[Option, ...] | None
    signature: Signature | None = None


def known_choice(kind: str, name: str, registry: dict[str, tuple[str, str]]) -> str:
    """Return the registered name of an engine or scheme, any case, or raise UsageError with the nearest."""
    if name.lower() in registry:
        return name.lower()
    raise UsageError(
        f"--{kind} {name!r} is unknown; use {' or '.join(registry)}{nearest(name.lower(), registry)}"
    )


@cache
def registered_options(kind: str, name: str) -> tuple[Option, ...]:
    """Return the fields of a registered engine or scheme, read off its source."""
    file, class_name = {"engine": ENGINES, "scheme": SCHEMES}[kind][name]
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    found = class_options(tree, class_name, without_fields=_WITHOUT_FIELDS)
    # a scheme that runs an engine is given the run's own
    return tuple(option for option in found or () if "Engine" not in option.annotation)


def split_model(argument: str) -> tuple[Path, str | None]:
    """Return the file and the optional name of ``MODEL.py[:Name]``."""
    if Path(argument).is_file():
        return Path(argument), None
    head, colon, name = argument.rpartition(":")
    if colon and (name.isidentifier() or name == ""):
        return Path(head), name or None
    return Path(argument), None


def read_model_source(argument: str) -> ModelSource:
    """Return which network of ``MODEL.py[:Name]`` is meant, and its fields, without running the file.

    Raises
    ------
    UsageError
        No such file, not Python, a syntax error, no network in it, several without a name,
        or an unknown name.
    """
    path, name = split_model(argument)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        hint = nearest(path.name, (entry.name for entry in folder.glob("*.py") if entry.is_file()))
        raise UsageError(
            f"no such file: {str(path)!r}{hint or '; give the path of a .py file with a NumPyro model'}"
        )
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        line = "" if error.lineno is None else f" line {error.lineno}"
        raise UsageError(f"{str(path)!r}{line} is not Python: {error.msg}; correct it") from None
    except (ValueError, MemoryError, RecursionError) as error:  # the last two: nested too deeply
        raise UsageError(f"{str(path)!r} is not Python text: {error}; correct it") from None
    bound, candidates = _bound_names(tree), _candidates(tree)
    if name is not None and name not in bound:
        known = f"it defines {', '.join(candidates)}" if candidates else "it defines no network"
        raise UsageError(f"{str(path)!r} has no {name!r}; {known}{nearest(name, bound)}")
    if name is None:
        if "model" not in bound and len(candidates) != 1:
            if not candidates:
                raise UsageError(
                    f"{str(path)!r} has no model; define a function model(x, y=None) or a network dataclass"
                )
            raise UsageError(
                f"{str(path)!r} defines {', '.join(candidates)}; choose one as {path}:{candidates[0]}"
            )
        name = "model" if "model" in bound else candidates[0]
    signature = _signature(tree, name)
    options = signature.options if signature is not None and signature.plain else class_options(tree, name)
    return ModelSource(path, name, options, signature)


def _signature(tree: ast.Module, name: str) -> Signature | None:
    """Return the arguments of a function, or of a class by its call, if nothing but its text makes them."""
    made = [node for node in tree.body if name in _bound_names(ast.Module([node], []))]
    node = made[-1] if made else None
    described = _described(ast.get_docstring(node) or "") if isinstance(node, ast.FunctionDef) else {}
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        return Signature.of_source(node, name, described=described)
    call = _call(node) if isinstance(node, ast.ClassDef) else None
    if call is not None and not call.decorator_list:
        return Signature.of_source(call, name, method=True)
    return None


def class_options(
    tree: ast.Module, name: str, *, without_fields: Collection[str] = ()
) -> tuple[Option, ...] | None:
    """Return the fields of a dataclass in a parsed file, those of bases in the same file first.

    None if there is no such dataclass, or a base is defined elsewhere (then fields are unknown), unless it
    is named as one without fields.
    """
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    node = classes.get(name)
    if node is None or not _is_dataclass(node):
        return None
    options: dict[str, Option] = {}
    for base in node.bases:
        known = ast.unparse(base)
        if known.split("[")[0] in ("object", "Protocol", "Generic", *without_fields):
            continue
        inherited = class_options(tree, known)
        if inherited is None:
            return None
        options |= {option.name: option for option in inherited}
    described = _described(ast.get_docstring(node) or "")
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            annotation = ast.unparse(line.annotation)
            if "ClassVar" in annotation or _excluded(line.value):
                continue
            field = line.target.id
            options[field] = Option(field, annotation, _default(line.value), described.get(field, ""))
    return tuple(options.values())


def _is_dataclass(node: ast.ClassDef) -> bool:
    """Return whether a class is decorated as a dataclass."""
    names = [ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
    return any(name.split(".")[-1] == "dataclass" for name in names)


def _excluded(value: ast.expr | None) -> bool:
    """Return whether a field says ``init=False``."""
    return isinstance(value, ast.Call) and any(
        k.arg == "init" and isinstance(k.value, ast.Constant) and k.value.value is False
        for k in value.keywords
    )


def _default(value: ast.expr | None) -> str | None:
    """Return the default as written; of ``field(...)`` its default or factory."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] == "field":
        given = {k.arg: ast.unparse(k.value) for k in value.keywords}
        return given.get("default", f"{given['default_factory']}()" if "default_factory" in given else None)
    return None if value is None else ast.unparse(value)


def _described(docstring: str) -> dict[str, str]:
    """Return the first sentence of each entry under Attributes or Parameters of a numpydoc docstring."""
    lines = docstring.splitlines()
    found: dict[str, str] = {}
    inside = False
    for number, line in enumerate(lines):
        under = lines[number + 1] if number + 1 < len(lines) else ""
        if under.startswith("---"):
            inside = line.strip() in ("Attributes", "Parameters")
        elif inside and line and not line.startswith((" ", "-")):
            body = []
            for later in lines[number + 1 :]:
                if later and not later.startswith(" "):
                    break
                body.append(later.strip())
            sentence = " ".join(body).strip().split(". ")[0].rstrip(".")
            for name in line.split(":")[0].split(","):
                found[name.strip()] = sentence
    return found


def _candidates(tree: ast.Module) -> list[str]:
    """Return the networks a file defines.

    Classes called with (x, y) and functions (x, y=None); where there is none, whatever samples, and has an
    argument with the default None, else one called y, and is no part of another such.
    """
    nodes = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    made = {node.name: _call(node) if isinstance(node, ast.ClassDef) else node for node in nodes}
    calls = {name: call for name, call in made.items() if call is not None and not name.startswith("_")}
    usual = [name for name, call in calls.items() if _takes_data(_own_arguments(tree, name, call))]
    if usual:
        return usual
    sampling = _sampling(tree)
    generative = {name: call for name, call in calls.items() if name in sampling}
    for is_target in (lambda a: a.default == "None", lambda a: a.name == OBSERVED):
        found = [
            name for name, call in generative.items() if any(map(is_target, _own_arguments(tree, name, call)))
        ]
        parts = {other for name in found for other in _called(generative[name]) if other != name}
        if whole := [name for name in found if name not in parts]:
            return whole
    return []


def _call(node: ast.ClassDef) -> ast.FunctionDef | None:
    """Return the ``__call__`` of a class."""
    return next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__call__"), None)


def _own_arguments(tree: ast.Module, name: str, call: ast.FunctionDef) -> tuple[Argument, ...]:
    """Return the arguments of a function, or of a method without the first."""
    return Signature.of_source(call, name, method=call not in tree.body).arguments


def _takes_data(arguments: tuple[Argument, ...]) -> bool:
    """Return whether arguments begin with x and include y with default None."""
    places = [a for a in arguments if not a.keyword_only]
    return (
        bool(places)
        and places[0].name == "x"
        and any(a.name == OBSERVED and a.default == "None" for a in places)
    )


def _sampling(tree: ast.Module) -> set[str]:
    """Return the functions and classes of a file in which a site is sampled, by themselves or by another."""
    packages, functions = {"numpyro"}, set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {a.asname or a.name for a in node.names if a.name.split(".")[0] == "numpyro"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numpyro":
            for a in node.names:
                (functions if a.name in _STATEMENTS else packages).add(a.asname or a.name)
    statements = functions | {f"{package}.{name}" for package in packages for name in _STATEMENTS}
    calls = {
        node.name: _called(node) for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    found: set[str] = set()
    while more := {name for name, called in calls.items() if called & (statements | found)} - found:
        found |= more
    return found


def _called(node: ast.AST) -> set[str]:
    """Return what is called within a node, as written."""
    return {ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}


def _bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a file binds at its top level, conditional blocks included."""
    bound: set[str] = set()
    stack: list[ast.stmt] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {
                name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
        else:
            stack += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return bound
