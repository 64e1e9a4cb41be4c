"""The network's file, run as a module, and the network built from options."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from brg_prob.binding.signature import Signature, written
from brg_prob.cli.arguments import ModelSource
from brg_prob.digest import content_digest
from brg_prob.options import Named, Option, UsageError, nearest

_PREFIX = "brg_prob_model_"


def load_module(path: Path, content: bytes | None = None) -> ModuleType:
    """Run a MODEL.py as a module and return it; ``content`` is its text, if that was read before.

    It stands in ``sys.modules`` before it runs (dataclasses look their module up), and its
    folder is at the end of the search path, so that it may import its neighbours.

    Raises
    ------
    UsageError
        It fails; the line in it and the error are named.
    """
    path = path.resolve()
    name = f"{_PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is no Python file; give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        with _no_bytecode():
            # compiled here: a cached .pyc is trusted by date and size, and may be another text's
            text = path.read_bytes() if content is None else content
            exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(
            f"{str(path)!r} fails{line_in(path, error)}: {type(error).__name__}: {error}"
        ) from error
    return module


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """Leave no ``__pycache__`` beside the user's files: a run that is refused writes nothing."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def build_network(source: ModelSource, module: ModuleType, options: dict[str, Any], x: Any = None) -> Any:
    """Return the network: a class built from its fields, at the inputs if it can be; a function as it is.

    Parameters
    ----------
    source, module
        Which network, and the loaded file.
    options
        Values of its fields (:func:`typed_options`).
    x
        Training inputs (n, d), for networks with ``for_inputs(x, **options)``.
    """
    found = found_in(source, module)
    if not has_fields(found):
        return found  # its options are arguments of the call
    resolved = {name: _resolved(value, module) for name, value in options.items()}
    try:
        if isinstance(found, type):
            build = getattr(found, "for_inputs", None)
            return found(**resolved) if x is None or build is None else build(x, **resolved)
        return dataclasses.replace(found, **resolved) if resolved else found
    except (ValueError, TypeError) as error:
        raise UsageError(f"{source.name}: {error}") from error
    except Exception as error:  # the file's own checks may raise anything
        line = line_in(source.path.resolve(), error)
        raise UsageError(f"{source.name} fails{line}: {type(error).__name__}: {error}") from error


def module_digest(content: bytes, name: str, options: dict[str, Any], sites: dict[str, Any]) -> str:
    """Return the digest of what makes a network.

    Parameters
    ----------
    content
        Its file; what that imports of the user's counts, too.
    name, options
        Which network in it, with which fields.
    sites
        Values of its sites at its inputs, in which all else shows that it depends on.
    """
    return content_digest(content, imported(), name, options, sites)


def neighbours(path: Path, before: set[str]) -> dict[str, str]:
    """Return the text of the modules that a network's file imports of the user's.

    Parameters
    ----------
    path
        The file.
    before
        Names of the modules that were there before it was loaded.

    Returns
    -------
    dict
        Path below a folder of the search path (``side.py``, ``layers/__init__.py``) → text.
    """
    folder, found = path.resolve().parent, {}
    for name, text in imported().items():
        file = Path(str(sys.modules[name].__file__)).resolve()
        if name not in before or file.is_relative_to(folder):
            suffix = "/__init__.py" if file.name == "__init__.py" else ".py"
            found[name.replace(".", "/") + suffix] = text.decode("utf-8", errors="replace")
    return found


def imported() -> dict[str, bytes]:
    """Return the text of all imported modules that belong neither to Python, nor to a package, nor to us.

    Not all that lies below Python's prefix is Python's: with /usr that would be /usr/src, too.
    """
    library = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    elsewhere = [Path(folder).resolve() for folder in library] + [Path(__file__).resolve().parents[2]]
    found = {}
    for name, module in list(sys.modules.items()):
        if name == "__main__" or name.startswith(_PREFIX):
            continue
        file = Path(getattr(module, "__file__", None) or "none")
        if file.suffix == ".py" and file.is_file():
            file = file.resolve()
            installed = {"site-packages", "dist-packages"} & set(file.parts)
            if not installed and not any(file.is_relative_to(folder) for folder in elsewhere):
                found[name] = file.read_bytes()
    return found


def found_in(source: ModelSource, module: ModuleType) -> Any:
    """Return the network's function, class or object in the loaded file."""
    found = getattr(module, source.name, None)
    if not callable(found):
        raise UsageError(
            f"{source.name!r} in {str(source.path)!r} is no network but a {type(found).__name__}; give a "
            "callable"
        )
    return found


def has_fields(found: Any) -> bool:
    """Return whether a network's options are its fields, and not the arguments of its call."""
    return isinstance(found, type) or dataclasses.is_dataclass(found)


def typed_options(source: ModelSource, found: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return options; those of a network known only after loading are parsed by its fields or arguments."""
    if source.options is not None or not options:
        return dict(options)
    if dataclasses.is_dataclass(found):
        known = {
            f.name: Option(f.name, f.type if isinstance(f.type, str) else written(f.type), None)
            for f in dataclasses.fields(found)
        }
    else:
        known = {option.name: option for option in Signature.of(found, source.name).options}
    for name in options:
        if name not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise UsageError(f"option '--model.{name}' is unknown; {has}{nearest(name, known)}")
    return {name: known[name].parse(value, f"--model.{name}") for name, value in options.items()}


def _resolved(value: Any, module: ModuleType) -> Any:
    """Return an object given by name: from the network's file, else a spectral density of ours."""
    if not isinstance(value, Named):
        return value
    from brg_prob import spectra

    found = getattr(module, value.name, None) or getattr(spectra, value.name, None)
    if found is None:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UsageError(
            f"no {value.name!r} in the network's file; import or define it there{nearest(value.name, public)}"
        )
    if isinstance(found, type) or value.called:
        try:
            return found(*value.values, **dict(value.options))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{value.name}: {error}") from error
    return found


def line_in(path: Path, error: BaseException) -> str:
    """Return " in line N" of the file where an error passed through it."""
    import traceback

    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path
    ]
    return f" in line {lines[-1]}" if lines else ""
