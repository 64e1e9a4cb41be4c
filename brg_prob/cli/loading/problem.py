"""What a network is trained on: a table's columns, split and standardised, or a draw of its own prior."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from brg_prob.binding import Signature, roles_without_table
from brg_prob.cli.arguments import AUTOMATIC, ModelSource
from brg_prob.cli.loading.module import build_network, found_in, has_fields, line_in, typed_options
from brg_prob.data_record import Record
from brg_prob.network.bind import Binding, bound_columns, is_readout
from brg_prob.network.bound import bound
from brg_prob.network.split import split_rows
from brg_prob.options import UsageError
from brg_prob.tables import Table
from brg_prob.transform import Standardisation

if TYPE_CHECKING:
    from brg_prob.cli.request import Request

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
    return "exact" if is_readout(network) else "nuts"


def _recorded(request: Request, module: ModuleType, table: Table) -> Problem:
    """Return the problem that a table poses: split, standardised on its training rows."""
    arguments = request.arguments
    found = found_in(request.source, module)
    options = typed_options(request.source, found, request.model.options)
    taken = bound_columns(
        table,
        found,
        name=request.source.name,
        target=arguments.target.split(",") if arguments.target else None,
        inputs=arguments.inputs.split(",") if arguments.inputs else None,
        drop_missing=arguments.drop_missing,
        options={} if has_fields(found) else options,
    )
    if taken.y is None:
        raise UsageError(f"{request.source.name!r} observes no column; name one in --target")
    own, targets = taken.x.shape[1] - len(taken.call.bound), taken.y  # a model without inputs has row numbers
    rows, held, how = split(arguments, taken.x, readout=is_readout(found))
    network, prepare = _prepared(request, module, options, taken.x[rows][:, :own], targets[rows])
    # arguments of the model reach it as they stand in the table, the rows' numbers as they are
    beside = taken.x.shape[1] - own
    prepare = dataclasses.replace(prepare, origin=prepare.origin + (0.0,) * beside)

    def internal(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = taken.x[chosen]
        return prepare.forward_inputs(x), prepare.forward(x, targets[chosen])

    x, y = internal(rows)
    # without a target there is nothing to score
    held = held[np.isfinite(targets[held]).reshape(held.size, targets[0].size).all(axis=1)]
    record = _record(request, table, taken, prepare, how)
    return Problem(taken.of(network), x, y, internal(held) if held.size else None, record)


def _record(
    request: Request, table: Table, taken: Binding, prepare: Standardisation, held_out: str
) -> Record:
    """Return how the data of a table are shown."""
    arguments, used = request.arguments, (*taken.inputs, *taken.target)
    return Record(
        subject=Path(request.data_name).stem,
        source=request.data_name,
        sha256=table.sha256,
        inputs=taken.inputs,
        targets=taken.target,
        units={name: unit for name, unit in table.units.items() if name in used},
        preparation=prepare,
        held_out=held_out,
        held_out_seed=arguments.held_out_seed if arguments.held_out in ("random", "block") else None,
        dropped=taken.dropped + table.dropped,
        levels=taken.levels,
        calendars={name: kept.to_json() for name, kept in table.calendars.items() if name in used},
        notes=taken.notes,
    )


def _prepared(
    request: Request, module: ModuleType, options: dict[str, Any], x: np.ndarray, y: np.ndarray
) -> tuple[Any, Standardisation]:
    """Return the network for training inputs (n, d), and the way to targets that suit it."""
    arguments, name = request.arguments, request.source.name
    prepare = Standardisation.identity(x.shape[1], y)
    readout = is_readout(found_in(request.source, module))
    if readout:
        prepare = Standardisation.fit(x, y, standardise=not arguments.no_standardise)
    elif arguments.detrend == "line":  # a model of the user's own is written for the data as they are
        raise UsageError(
            f"--detrend line: {name!r} learns the data as they are; take the line off in the table or in it"
        )
    network = build_network(request.source, module, options, prepare.forward_inputs(x))
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


def fingerprint(problem: Problem) -> dict[str, np.ndarray]:
    """Return all sites of one run of the network on its inputs.

    What a network reads from files, the system or other packages no digest of its text can see;
    in these values it shows.
    """
    import jax

    from brg_prob.network import Conditioned
    from brg_prob.network.trace import run_trace

    network = problem.network
    if isinstance(network, Conditioned):
        trace = network.trace(network.reading.point)
    else:
        trace = run_trace(network, jax.numpy.asarray(problem.x), key=jax.random.key(0))
    return {
        name: np.asarray(site["value"])
        for name, site in trace.items()
        if site["type"] in ("sample", "deterministic", "param")
    }


def split(arguments: Any, x: np.ndarray, *, readout: bool) -> tuple[np.ndarray, np.ndarray, str]:
    """Return training rows, held-out rows, and how they were chosen.

    By default a linear readout on a grid keeps every second row for scores; any other model learns from
    all rows, and leave-one-out scores it. A block is then the end of the table, as a series asks for.
    """
    import jax

    n = len(x)
    how = _held_out(arguments, readout=readout)
    if how == "none":
        return np.arange(n), np.arange(0), "nothing held out"
    # of a readout in input order, so that "alternate" and "block" mean neighbours in x, not in the file
    order = np.lexsort(x.T[::-1]) if readout else np.arange(n)
    key = None
    if readout or how != "block":
        key = jax.random.fold_in(jax.random.key(arguments.held_out_seed), 0)
    found = split_rows(n, how, key=key, fraction=arguments.held_out_fraction)
    return order[found.train], order[found.test], found.description


def _held_out(arguments: Any, *, readout: bool) -> str:
    """Return how rows are held out: as asked for, else as suits the network."""
    return str(arguments.held_out or ("alternate" if readout else "none"))


def _teacher(request: Request, module: ModuleType, key: Any) -> Problem:
    """Return a draw of the prior as data: training points on a grid, held-out ones beside it."""
    import jax.numpy as jnp
    from numpyro import handlers

    from brg_prob.network.trace import run_trace
    from brg_prob.prior import prior_point

    arguments, found = request.arguments, found_in(request.source, module)
    options = typed_options(request.source, found, request.model.options)
    known = {option.name for option in request.source.options or ()} if has_fields(found) else set()
    if "box" in known and not {"box", "width"} & set(options):
        options["box"] = TEACHER_BOX
    network = build_network(request.source, module, options)
    signature = Signature.of(found, request.source.name)
    roles = roles_without_table(signature, {} if has_fields(found) else options)
    box = getattr(network, "box", None) or TEACHER_BOX
    dim = int(getattr(network, "dim", 1))
    side = _points_per_side(
        arguments.points, dim, box, getattr(network, "cutoff", None), lattice="box" in options
    )
    step = box / side
    axes = np.meshgrid(*[np.arange(side) * step] * dim, indexing="ij")
    train = np.stack([axis.ravel() for axis in axes], axis=1)
    both = np.concatenate([train, train + step / 2])
    network = bound(network, roles.call(signature, {}))
    observation = observation_of(network, both, request.source)
    latent = prior_point(network, jnp.asarray(both), key=key)
    drawn = handlers.substitute(network, data=latent) if latent else network
    y = np.asarray(run_trace(drawn, jnp.asarray(both), key=key)[observation]["value"])
    if y.shape[:1] != (len(both),):
        raise UsageError(
            f"{request.source.name!r} draws {observation!r} of shape {y.shape} for {len(both)} inputs, so it "
            "cannot be its own teacher; give --data FILE"
        )
    n = len(train)
    with_held_out = _held_out(arguments, readout=is_readout(found)) != "none"
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
        named = "outputs" in {option.name for option in source.options or ()}
        remedy = f"set --model.outputs {wanted}" if named else "set the network's number of outputs"
        raise UsageError(
            f"{where} has {has} output(s), the data {wanted} target(s); name as many in --target, or {remedy}"
        )
    return sites.observation
