"""What a network is trained on: a table's columns, split and standardised, or a draw of its own prior."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from brg_prob.arguments import AUTOMATIC, ModelSource
from brg_prob.loading.module import build_network, line_in
from brg_prob.network.bind import split_rows
from brg_prob.network.bound import bound, column_arguments
from brg_prob.options import UsageError
from brg_prob.record import Record
from brg_prob.tables import Regression, Table, regression
from brg_prob.transform import Standardisation

if TYPE_CHECKING:
    from brg_prob.request import Request

TEACHER_BOX = 10.0
"""Side of the box of a teacher's inputs where the network names none."""


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


def problem_of(request: Request, module: ModuleType, table: Table | None, key: Any) -> Problem:
    """Return network and data, from a table or from a teacher drawn with ``key``."""
    if table is None:
        return _teacher(request, module, key)
    return _recorded(request, module, table)


def engine_of(request: Request, network: Any) -> str:
    """Return the name of the engine: the one asked for, else the one that suits the network."""
    if request.engine.name != AUTOMATIC:
        return request.engine.name
    return "exact" if _is_readout(network) else "nuts"


def _is_readout(network: Any) -> bool:
    """Return whether a network, or its class, has a linear readout."""
    return all(hasattr(network, name) for name in ("features", "readout_prior", "sample_hidden"))


def _recorded(request: Request, module: ModuleType, table: Table) -> Problem:
    """Return the problem that a table poses: split, standardised on its training rows."""
    arguments = request.arguments
    taken, names = _columns(request, module, table)
    own = taken.x.shape[1] - len(names)
    rows, held, how = split(arguments, taken.x)
    network, prepare = _prepared(request, module, taken.x[rows][:, :own], taken.y[rows])
    # arguments of the model reach it as they stand in the table
    prepare = dataclasses.replace(prepare, origin=prepare.origin + (0.0,) * len(names))

    def internal(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = taken.x[chosen]
        return prepare.forward_inputs(x), prepare.forward(x, taken.y[chosen])

    x, y = internal(rows)
    record = Record(
        subject=Path(request.data_name).stem,
        source=request.data_name,
        sha256=table.sha256,
        inputs=taken.inputs,
        targets=taken.targets,
        units=table.units,
        preparation=prepare,
        held_out=how,
        held_out_seed=arguments.held_out_seed if arguments.held_out in ("random", "block") else None,
        dropped=table.dropped,
    )
    return Problem(bound(network, names), x, y, internal(held) if held.size else None, record)


def _prepared(
    request: Request, module: ModuleType, x: np.ndarray, y: np.ndarray
) -> tuple[Any, Standardisation]:
    """Return the network for training inputs (n, d), and the way to targets that suit it."""
    arguments, name = request.arguments, request.source.name
    prepare = Standardisation.identity(x.shape[1], y)
    readout = _is_readout(getattr(module, name, None))
    if readout:
        prepare = Standardisation.fit(x, y, standardise=not arguments.no_standardise)
    elif arguments.detrend == "line":  # a model of the user's own is written for the data as they are
        raise UsageError(
            f"--detrend line: {name!r} learns the data as they are; take the line off in the table or in it"
        )
    network = build_network(request.source, module, request.model.options, prepare.forward_inputs(x))
    detrend = arguments.detrend
    if detrend == "auto":  # only a network that is there knows whether its box closes on itself
        detrend = "periodic" if _fills_a_box(network, x) else "none"
    if readout and detrend != "none":
        prepare = Standardisation.fit(x, y, detrend=detrend, standardise=not arguments.no_standardise)
    return network, prepare


def _fills_a_box(network: Any, x: np.ndarray) -> bool:
    """Return whether inputs (n, 1) go round a periodic box, but for a gap of half their length at most."""
    box = getattr(network, "box", None)
    return box is not None and x.shape[1] == 1 and box <= 1.5 * np.ptp(x)


def _columns(request: Request, module: ModuleType, table: Table) -> tuple[Regression, tuple[str, ...]]:
    """Return inputs and targets, and the names of the inputs (the last ones) that are arguments of the model.

    A column named like an argument of the model goes to that argument, unless --inputs or
    --target says otherwise.
    """
    arguments = request.arguments
    inputs = arguments.inputs.split(",") if arguments.inputs else None
    targets = arguments.target.split(",") if arguments.target else None
    claimed = {*(inputs or ()), *(targets or ())}
    found = getattr(module, request.source.name, None)
    free = [column for column in table.columns if column not in claimed]
    names, missing = column_arguments(found, free) if callable(found) else ((), ())
    if missing and missing[0] in claimed:
        raise UsageError(
            f"column {missing[0]!r} is an argument of {request.source.name!r}; leave it out of --inputs and "
            "--target"
        )
    if missing:
        raise UsageError(
            f"{request.source.name!r} needs {missing[0]!r}, which is no column of {request.data_name!r}; its "
            f"columns are {', '.join(table.columns)}"
        )
    if names:
        rest = regression(table, inputs=inputs, targets=targets)
        own = [column for column in rest.inputs if column not in names]
        if not own:
            raise UsageError(
                f"all columns of {request.data_name!r} are arguments of {request.source.name!r}; name one of "
                "them in --inputs"
            )
        inputs = [*own, *names]
    return regression(table, inputs=inputs, targets=targets), names


def fingerprint(problem: Problem) -> dict[str, np.ndarray]:
    """Return all sites of one run of the network on its inputs.

    What a network reads from files, the system or other packages no digest of its text can see;
    in these values it shows.
    """
    import jax

    from brg_prob.network.trace import run_trace

    trace = run_trace(problem.network, jax.numpy.asarray(problem.x), key=jax.random.key(0))
    return {
        name: np.asarray(site["value"])
        for name, site in trace.items()
        if site["type"] in ("sample", "deterministic", "param")
    }


def split(arguments: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Return training rows, held-out rows, and how they were chosen."""
    import jax

    n = len(x)
    if arguments.held_out == "none":
        return np.arange(n), np.arange(0), "nothing held out"
    # in input order, so that "alternate" and "block" mean neighbours in x, not in the file
    order = np.lexsort(x.T[::-1])
    key = jax.random.fold_in(jax.random.key(arguments.held_out_seed), 0)
    found = split_rows(n, arguments.held_out, key=key, fraction=arguments.held_out_fraction)
    return order[found.train], order[found.test], found.description


def _teacher(request: Request, module: ModuleType, key: Any) -> Problem:
    """Return a draw of the prior as data: training points on a grid, held-out ones beside it."""
    import jax.numpy as jnp

    from brg_prob.network.trace import run_trace

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
    observation = observation_of(network, both, request.source)
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


def observation_of(network: Any, x: np.ndarray, source: ModelSource, y: np.ndarray | None = None) -> str:
    """Return the name of the site that observes y, after one run of the model on two inputs.

    Raises
    ------
    UsageError
        The model fails on such inputs, observes nothing, or has not as many outputs as ``y``.
    """
    import jax.numpy as jnp

    from brg_prob.network.trace import read_model

    where = f"{source.name!r} in {str(source.path)!r}"
    try:
        sites = read_model(network, jnp.asarray(x[:2]))
    except Exception as error:
        line = line_in(source.path.resolve(), error)
        raise UsageError(f"{where} fails on inputs of shape {x.shape}{line}: {error}") from error
    if sites.observation is None:
        raise UsageError(f"{where} observes nothing; add numpyro.sample('y', …, obs=y)")
    has = math.prod(next(site.shape for site in sites.observed if site.name == sites.observation)[1:])
    wanted = has if y is None else math.prod(y.shape[1:])
    if has != wanted:
        raise UsageError(
            f"{where} has {has} output(s), the data {wanted} target(s); name as many in --target, or set the "
            "network's number of outputs"
        )
    return sites.observation
