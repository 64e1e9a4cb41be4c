"""From a checked command line to a run: the network's file, the data, and what is held out.

Imported only once the arguments are checked: this is where jax enters. float64 is switched on
before the network's file is loaded, so that arrays it makes are double, too.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import importlib
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from brg_prob.binding import Signature, arrange, columns_of, roles_of, roles_without_table
from brg_prob.cli.arguments import ENGINES, SCHEMES
from brg_prob.compiled import keep_compiled
from brg_prob.options import UsageError
from brg_prob.store import Stages, Written, recover, working
from brg_prob.tables import Table, TableError, read_table

if TYPE_CHECKING:
    from brg_prob.cli.loading.problem import Problem
    from brg_prob.cli.request import Request
    from brg_prob.pipeline import Run, Source

LARGEST_TABLE = 2 << 20
"""Characters of a compressed table that a run keeps whole."""


class Progress(Protocol):
    """Shows the stages of a run; :class:`brg_prob.cli.terminal.progress.Stages` is one."""

    def __call__(self, stage: str) -> AbstractContextManager[None]:
        """Enter a stage."""

    def expect(self, stages: int) -> None:
        """Say how many stages there are in all."""


@dataclass(frozen=True)
class Executed:
    """A run that was written: the run, where, and the stages that an earlier run had finished."""

    run: Run
    written: Written
    reused: tuple[str, ...]


def execute(request: Request, progress: Progress) -> Executed:
    """Load network and data, train, flow, check, and write the run folder.

    Stages that an earlier run into the same folder finished from the same content are not
    computed again, unless ``--fresh``.

    Raises
    ------
    UsageError
        What only the loaded network or the table itself can show to be wrong.
    brg_prob.store.StoreError
        The folder is in use, or the disk refuses.
    """
    recover(request.out)
    with contextlib.ExitStack() as settings:
        with progress("loading"):
            table = _table(request)  # a bad one is refused before jax is loaded
            settings.enter_context(_precision(request.arguments.float32))
            problem, source, key = _loaded(request, table)
        with working(request.out, fresh=request.arguments.fresh) as stages:
            run = _computed(request, problem, source, key, stages, progress)
            with progress("report"):
                return Executed(run, run.write(request.out), tuple(stages.reused))


def _loaded(request: Request, table: Table | None) -> tuple[Problem, Source, Any]:
    """Return what is trained on what, where it came from, and the key of the run."""
    import jax

    keep_compiled()
    from brg_prob.cli.loading.module import found_in, load_module, module_digest, neighbours
    from brg_prob.cli.loading.problem import engine_of, fingerprint, observation_of, problem_of
    from brg_prob.network import InfiniteWidth, require
    from brg_prob.pipeline import Source

    path, before = request.source.path, set(sys.modules)
    content = path.read_bytes()
    module = load_module(path, content)
    signature = Signature.of(found_in(request.source, module), request.source.name)
    if request.source.signature is None or signature.names != request.source.signature.names:
        table = _table(request, signature)
    key = jax.random.key(request.arguments.seed)
    problem = problem_of(request, module, table, jax.random.fold_in(key, 0))
    engine = _class_of(ENGINES, engine_of(request, problem.network))
    if getattr(engine, "any_model", False):
        problem = _read(problem, request.arguments.held_out)
    else:
        observation_of(problem.network, problem.x, request.source, problem.y)
    if request.arguments.infinite_width:
        require(problem.network, InfiniteWidth, "--infinite-width")
    source = Source(
        path=path,
        name=request.source.name,
        command=request.command,
        seed=request.arguments.seed,
        content=content,
        request=stored_request(request, table, neighbours(path, before)),
        digest=module_digest(content, request.source.name, request.model.options, fingerprint(problem)),
    )
    return problem, source, jax.random.fold_in(key, 1)


def _read(problem: Problem, held_out: str | None) -> Problem:
    """Return the problem with its model read at the data, once for all that follows.

    Raises
    ------
    UsageError
        Rows of a series were to be taken out from between the others.
    """
    from brg_prob.posterior import as_data

    data = as_data(problem.x, problem.y, missing=True)
    read = data.conditioned(problem.network)
    if read.reading.mixed and held_out in ("alternate", "random"):
        raise UsageError(
            f"--held-out {held_out}: the likelihood of {read.reading.mixed[0]!r} at a row depends on other "
            "rows, so none can be taken out from between; hold out the last ones (--held-out block) or none"
        )
    return dataclasses.replace(problem, network=read)


@contextlib.contextmanager
def _precision(single: bool) -> Iterator[None]:
    """Compute in double precision, or in single if that is asked for; afterwards it is as it was."""
    import jax

    before = bool(jax.config.jax_enable_x64)
    jax.config.update("jax_enable_x64", not single)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _table(request: Request, signature: Signature | None = None) -> Table | None:
    """Return the columns of the table that a model with these arguments uses; None for a teacher.

    Whatever names and values alone can show to be wrong is refused here. Without a signature all columns
    that can be read are returned, with their gaps.
    """
    signature, given = signature or request.source.signature, request.arguments
    options = request.model.options if signature is not None and signature.plain else {}
    if given.data == "teacher":
        if signature is not None:
            roles_without_table(signature, options)
        return None
    table = read_table(given.data, columns=(), others=True, may_miss=None)
    if signature is None:
        return table
    target, inputs = (names.split(",") if names else None for names in (given.target, given.inputs))
    roles = roles_of(
        columns_of(table).with_all_names(), signature, target=target, inputs=inputs, options=options
    )
    try:
        used = read_table(given.data, columns=roles.columns, may_miss=None)
    except TableError as error:
        if not set(table.passed_over) & set(roles.columns) or (given.inputs and given.target):
            raise
        raise UsageError(f"{error}, or name the others in --inputs and --target") from error
    arrange(columns_of(used), signature, roles, drop_missing=given.drop_missing, single=given.float32)
    return used


def _computed(
    request: Request, problem: Problem, source: Source, key: Any, stages: Stages, progress: Progress
) -> Run:
    """Return the run that a request asks for."""
    from brg_prob.cli.loading.problem import engine_of
    from brg_prob.pipeline import run

    arguments = request.arguments
    return run(
        problem.network,
        problem.x,
        problem.y,
        key=key,
        engine=_built("engine", ENGINES, engine_of(request, problem.network), request.engine.options),
        scheme=None
        if arguments.scheme is None  # what suits the model
        else _built("scheme", SCHEMES, request.scheme.name, request.scheme.options),
        scales=arguments.scales,
        draws=arguments.draws,
        observations=arguments.observations,
        held_out=problem.held_out,
        tolerance=arguments.tolerance,
        shift_tolerance=arguments.shift_tolerance,
        controls=arguments.controls,
        tune=arguments.tune,
        infinite_width=arguments.infinite_width,
        record=problem.record,
        source=source,
        stages=stages,
        progress=progress,
    )


def stored_request(request: Request, table: Table | None, modules: dict[str, str]) -> dict[str, Any]:
    """Return what ``brg-prob rerun`` needs beside the network's file, as JSON types.

    A table of up to two megabytes (compressed) goes in whole; of a larger one, its place and hash.
    """
    folder = str(Path(request.folder).resolve())
    stored: dict[str, Any] = {"words": list(request.words), "folder": folder, "modules": modules}
    if table is not None:
        content = Path(request.arguments.data).read_bytes()
        packed = base64.b64encode(zlib.compress(content, 9)).decode()
        # a table that changed since it was read is none that this run could be repeated with
        whole = len(packed) <= LARGEST_TABLE and hashlib.sha256(content).hexdigest() == table.sha256
        stored["data"] = {
            "name": request.data_name,
            "place": str(Path(request.arguments.data).resolve()),
            "sha256": table.sha256,
            "content": packed if whole else None,
        }
    return stored


def _built(kind: str, registry: dict[str, tuple[str, str]], name: str, options: dict[str, Any]) -> Any:
    """Return an engine or scheme from its registered class."""
    try:
        return _class_of(registry, name)(**options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--{kind} {name}: {error}") from error


def _class_of(registry: dict[str, tuple[str, str]], name: str) -> Any:
    """Return a registered class."""
    file, class_name = registry[name]
    module = importlib.import_module("brg_prob." + file.removesuffix(".py").replace("/", "."))
    return getattr(module, class_name)
