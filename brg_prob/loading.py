"""From a checked command line to a run: the network's file, the data, and what is held out.

Imported only once the arguments are checked: this is where jax enters. float64 is switched on
before the network's file is loaded, so that arrays it makes are double, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import math
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from brg_prob.arguments import ENGINES, HERE, SCHEMES, ModelSource, Named, UsageError, nearest
from brg_prob.compiled import keep_compiled
from brg_prob.tables import Table, read_table, regression

if TYPE_CHECKING:
    from brg_prob.cli import Request
    from brg_prob.pipeline import Record, Run

TEACHER_BOX = 10.0
"""Side of the box of a teacher's inputs where the network names none."""


class Progress(Protocol):
    """Shows the stages of a run; :class:`brg_prob.terminal.Stages` is one."""

    def __call__(self, stage: str) -> AbstractContextManager[None]:
        """Enter a stage."""
        ...

    def expect(self, stages: int) -> None:
        """Say how many stages there are in all."""
        ...


@dataclass(frozen=True)
class Problem:
    """What is to be trained on what.

    Attributes
    ----------
    network
        The network.
    x, y
        Training inputs (n, d) and targets (n,) or (n, o), as the network sees them.
    held_out
        Inputs and targets for scores only, or None.
    record
        How the data are shown: names, units, and the way back to the record's own units.
    """

    network: Any
    x: np.ndarray
    y: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray] | None
    record: Record


def execute(request: Request, progress: Progress) -> Run:
    """Load network and data, train, flow, and check; nothing is written.

    Raises
    ------
    UsageError
        What only the loaded network or the table itself can show to be wrong.
    """
    arguments = request.arguments
    with progress("loading"):
        table = None
        if arguments.data != "teacher":
            table = read_table(arguments.data, drop_missing=arguments.drop_missing)
        import jax

        if not arguments.float32:
            jax.config.update("jax_enable_x64", True)
        keep_compiled()
        from brg_prob.pipeline import Source, run

        module = load_module(request.source.path)
        key = jax.random.key(arguments.seed)
        problem = _problem(request, module, table, jax.random.fold_in(key, 0))
        _observation(problem.network, problem.x, request.source)
    return run(
        problem.network,
        problem.x,
        problem.y,
        key=jax.random.fold_in(key, 1),
        engine=_built("engine", ENGINES, request.engine.name, request.engine.options),
        scheme=_built("scheme", SCHEMES, request.scheme.name, request.scheme.options),
        scales=arguments.scales,
        draws=arguments.draws,
        observations=arguments.observations,
        held_out=problem.held_out,
        tolerance=arguments.tolerance,
        controls=arguments.controls,
        tune=arguments.tune,
        record=problem.record,
        source=Source(request.source.path, request.source.name, request.command, arguments.seed),
        progress=progress,
    )


def load_module(path: Path) -> ModuleType:
    """Run a MODEL.py as a module and return it.

    It stands in ``sys.modules`` before it runs (dataclasses look their module up), and its
    folder is at the end of the search path, so that it may import its neighbours.

    Raises
    ------
    UsageError
        It fails; the line in it and the error are named.
    """
    path = path.resolve()
    name = f"brg_prob_model_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is no Python file; give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(
            f"{str(path)!r} fails{_line_in(path, error)}: {type(error).__name__}: {error}"
        ) from error
    return module


def build_network(source: ModelSource, module: ModuleType, options: dict[str, Any], x: Any = None) -> Any:
    """Return the network: a class built from its options, at the inputs if it can be; others as they are.

    Parameters
    ----------
    source, module
        Which network, and the loaded file.
    options
        Values of its fields; text where the fields were not known before loading.
    x
        Training inputs (n, d), for networks with ``for_inputs(x, **options)``.
    """
    found = getattr(module, source.name, None)
    if not callable(found):
        raise UsageError(
            f"{source.name!r} in {str(source.path)!r} is no network but a {type(found).__name__}; give a "
            "callable"
        )
    resolved = {name: _resolved(value, module) for name, value in _typed(found, options).items()}
    try:
        if isinstance(found, type):
            build = getattr(found, "for_inputs", None)
            return found(**resolved) if x is None or build is None else build(x, **resolved)
        return dataclasses.replace(found, **resolved) if resolved else found
    except (ValueError, TypeError) as error:
        raise UsageError(f"{source.name}: {error}") from error


def _problem(request: Request, module: ModuleType, table: Table | None, key: Any) -> Problem:
    """Return network and data, from a table or from a teacher."""
    if table is None:
        return _teacher(request, module, key)
    return _recorded(request, module, table, key)


def _recorded(request: Request, module: ModuleType, table: Table, key: Any) -> Problem:
    """Return the problem that a table poses: split, standardised on its training rows."""
    from brg_prob.network.bind import split_rows
    from brg_prob.pipeline import Record
    from brg_prob.transform import Standardisation

    arguments = request.arguments
    taken = regression(
        table,
        inputs=arguments.inputs.split(",") if arguments.inputs else None,
        targets=arguments.target.split(",") if arguments.target else None,
    )
    n = len(taken.y)
    rows, held, how = np.arange(n), np.arange(0), "nothing held out"
    if arguments.held_out != "none":
        # in input order, so that "alternate" and "block" mean neighbours in x, not in the file
        order = np.lexsort(taken.x.T[::-1])
        split = split_rows(n, arguments.held_out, key=key)
        rows, held, how = order[split.train], order[split.test], split.description
    prepare = Standardisation.fit(
        taken.x[rows],
        taken.y[rows],
        detrend=not arguments.no_detrend,
        standardise=not arguments.no_standardise,
    )

    def internal(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = taken.x[chosen]
        return prepare.forward_inputs(x), prepare.forward(x, taken.y[chosen])

    x, y = internal(rows)
    record = Record(
        subject=Path(table.path).stem,
        source=table.path,
        sha256=table.sha256,
        inputs=taken.inputs,
        targets=taken.targets,
        units=table.units,
        preparation=prepare,
        held_out=how,
    )
    network = build_network(request.source, module, request.model.options, x)
    return Problem(network, x, y, internal(held) if held.size else None, record)


def _teacher(request: Request, module: ModuleType, key: Any) -> Problem:
    """Return a draw of the prior as data: training points on a grid, held-out ones beside it."""
    import jax.numpy as jnp

    from brg_prob.network.trace import run_trace
    from brg_prob.pipeline import Record

    arguments, options = request.arguments, dict(request.model.options)
    known = {option.name for option in request.source.options or ()}
    if "box" in known and not {"box", "width"} & set(options):
        options["box"] = TEACHER_BOX
    network = build_network(request.source, module, options)
    box = getattr(network, "box", None) or TEACHER_BOX
    dim = int(getattr(network, "dim", 1))
    side = _points_per_side(
        arguments.points, dim, box, getattr(network, "cutoff", None), lattice="box" in options
    )
    step = box / side
    axes = np.meshgrid(*[np.arange(side) * step] * dim, indexing="ij")
    train = np.stack([axis.ravel() for axis in axes], axis=1)
    both = np.concatenate([train, train + step / 2])
    observation = _observation(network, both, request.source)
    y = np.asarray(run_trace(network, jnp.asarray(both), key=key)[observation]["value"])
    n = len(train)
    with_held_out = arguments.held_out != "none"
    record = Record(
        subject="a draw of its own prior",
        source="teacher: a draw of the prior at the options above",
        held_out="inputs half a spacing beside the training grid" if with_held_out else "nothing held out",
    )
    return Problem(network, train, y[:n], (both[n:], y[n:]) if with_held_out else None, record)


def _points_per_side(points: int, dim: int, box: float, cutoff: float | None, *, lattice: bool) -> int:
    """Return the grid's points per side: as asked for d = 1; in more, no fewer than a lattice needs."""
    side = round(points ** (1 / dim))
    if dim > 1 and lattice and cutoff is not None and math.isfinite(cutoff):
        side = max(side, 2 * math.floor(cutoff * box / (2 * math.pi)) + 1)
    return max(side, 2)


def _observation(network: Any, x: np.ndarray, source: ModelSource) -> str:
    """Return the name of the site that observes y, after one run of the model on two inputs.

    Raises
    ------
    UsageError
        The model fails on such inputs, or observes nothing.
    """
    import jax.numpy as jnp

    from brg_prob.network.trace import read_model

    where = f"{source.name!r} in {str(source.path)!r}"
    try:
        found = read_model(network, jnp.asarray(x[:2])).observation
    except Exception as error:
        line = _line_in(source.path.resolve(), error)
        raise UsageError(f"{where} fails on inputs of shape {x.shape}{line}: {error}") from error
    if found is None:
        raise UsageError(f"{where} observes nothing; add numpyro.sample('y', …, obs=y)")
    return found


def _built(kind: str, registry: dict[str, tuple[str, str]], name: str, options: dict[str, Any]) -> Any:
    """Return an engine or scheme from its registered class."""
    file, class_name = registry[name]
    module = importlib.import_module("brg_prob." + file.removesuffix(".py").replace("/", "."))
    try:
        return getattr(module, class_name)(**options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--{kind} {name}: {error}") from error


def _typed(found: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return options whose text is parsed by the fields of a network that was known only after loading."""
    if not any(isinstance(value, str) for value in options.values()):
        return options
    if not dataclasses.is_dataclass(found):
        raise UsageError(
            f"option '--model.{next(iter(options))}' is unknown; this network is no dataclass and has no "
            "options"
        )
    from brg_prob.arguments import Option

    fields = {
        f.name: Option(f.name, f.type if isinstance(f.type, str) else _annotation(f.type), None)
        for f in dataclasses.fields(found)
    }
    for name in options:
        if name not in fields:
            raise UsageError(
                f"option '--model.{name}' is unknown; its options are "
                f"{', '.join(fields)}{nearest(name, fields)}"
            )
    return {
        name: fields[name].parse(value, f"--model.{name}") if isinstance(value, str) else value
        for name, value in options.items()
    }


def _annotation(kind: Any) -> str:
    """Return a type as it would be written."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


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


def _line_in(path: Path, error: BaseException) -> str:
    """Return " in line N" of the file where an error passed through it."""
    import traceback

    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path
    ]
    return f" in line {lines[-1]}" if lines else ""


__all__ = ["HERE", "Problem", "Progress", "build_network", "execute", "load_module"]
