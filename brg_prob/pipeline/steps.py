"""The stages of a run: tune, train, flow, compare, record.

``run`` is what ``brg-prob run`` calls. Its result, :class:`Run`, holds one DataTree and its
summary; :meth:`Run.save` writes a run folder and :func:`load_run` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from jax import Array

from brg_prob.correspondence import SHIFT_TOLERANCE
from brg_prob.data_record import Record
from brg_prob.flow import Diffusion, Shell, Tempering
from brg_prob.network import LinearReadout
from brg_prob.pipeline.desk import Desk
from brg_prob.pipeline.models import Judgement, run_model
from brg_prob.pipeline.readouts import run_readout
from brg_prob.pipeline.result import Run, Source
from brg_prob.posterior import NUTS, Engine, Exact
from brg_prob.store import Stages

Scheme = Diffusion | Shell | Tempering


def run(
    network: Any,
    x: Any,
    y: Any,
    *,
    key: Array,
    engine: Engine | None = None,
    scheme: Scheme | None = None,
    second: Scheme | None = Shell(),
    scales: int | Sequence[float] = 12,
    draws: int = 4000,
    observations: float | None = None,
    held_out: tuple[Any, Any] | None = None,
    tolerance: float = 0.05,
    shift_tolerance: float = SHIFT_TOLERANCE,
    level: float = 0.05,
    controls: bool = False,
    tune: bool = False,
    infinite_width: bool = False,
    record: Record | None = None,
    source: Source | None = None,
    stages: Stages | None = None,
    progress: Callable[[str], AbstractContextManager[None]] | None = None,
) -> Run:
    """Train a network, flow it back, and hold the flow against the exact renormalization group.

    Parameters
    ----------
    network
        With the capability LinearReadout: with FreeField it is held against T9, without against the
        closed-form posterior at every T (T10). With an engine of any model (``NUTS()``, ``Laplace()``,
        ``SVI()``, ``Given(...)``): any NumPyro model, held against the posterior sampled anew at every T
        (T6).
    x, y
        Training inputs (n, d) and targets (n,) or (n, o), as the network sees them.
    key
        From ``jax.random.key``; the same key gives the same run.
    engine, scheme
        Default ``Exact()`` for a linear readout, ``NUTS()`` for any other model; and ``Diffusion()``,
        ``Tempering()`` for a model whose prior has no transport to
        N(0, 1).
    second
        A second flow of the same posterior, stored under ``shell``; left out with None, or if
        ``scheme`` is itself a shell.
    scales
        Their number, log-spaced from T to 1, or the scales themselves in the scheme's coordinate
        (the second flow then has a shell's cutoffs 1/T).
    draws, observations
        Posterior draws and T, default n.
    held_out
        Inputs and targets for predictive scores.
    tolerance, level, controls
        Of :func:`brg_prob.check_correspondence`.
    shift_tolerance
        Of :func:`brg_prob.correspondence.check_against_tempering`, in standard deviations of a draw; for
        any model.
    tune
        First maximise the evidence for mass, amplitude and noise.
    infinite_width
        Take the network's limit of infinite width at the training and held-out inputs in its place
        (:func:`brg_prob.infinite_width`, T10); needs the capability InfiniteWidth.
    record, source
        How the data are shown, and where the network came from.
    stages
        From :func:`brg_prob.store.working`: stages finished earlier from the same content are not
        computed again. Needs ``source.digest``.
    progress
        ``progress(stage)`` is entered around each stage.

    Returns
    -------
    Run
        Nothing is written; see :meth:`Run.save`.

    Examples
    --------
    A hundred observations of a draw of the prior, on its own box::

        import jax, brg_prob
        from models.cosnet import CosNet

        brg_prob.enable_x64()
        x = jax.numpy.arange(100)[:, None] / 10.0
        run = brg_prob.run(CosNet(box=10.0), x, y, key=jax.random.key(0))
        run.summary["verdict"]
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance = {tolerance} must lie between 0 and 1, e.g. 0.05")
    if not 0 < shift_tolerance < 10:
        raise ValueError(
            f"shift_tolerance = {shift_tolerance} must lie between 0 and 10 standard deviations, e.g. 0.3"
        )
    chosen, scheme = scheme, scheme or Diffusion()
    source = source or Source()
    engine = engine or (Exact() if isinstance(network, LinearReadout) else NUTS())
    second = None if isinstance(scheme, Shell) else second
    any_model = getattr(engine, "any_model", False)
    if any_model:
        _refuse_readout_only(tune=tune, infinite_width=infinite_width)
    basis = (source.digest, x, y, held_out, tune, infinite_width)
    desk = Desk(progress, stages if source.digest else None, *basis)
    shared: dict[str, Any] = {
        "key": key,
        "engine": engine,
        "scales": scales,
        "options": {"draws": draws, "observations": observations},
        "judgement": Judgement(tolerance, shift_tolerance, level),
        "record": record or Record(),
        "source": source,
        "desk": desk,
    }
    data = (x, y, held_out)
    if any_model:
        shell = second if isinstance(second, Shell) else None
        return run_model(network, data, scheme=chosen, second=shell, **shared)
    asked: dict[str, Any] = {"controls": controls, "tune": tune, "infinite_width": infinite_width}
    return run_readout(network, data, scheme=scheme, second=second, **asked, **shared)


def _refuse_readout_only(**asked: bool) -> None:
    """Raise ValueError for an option that only linear readouts have."""
    for name, given in asked.items():
        if given:
            raise ValueError(f"{name} = True needs a linear readout and its engines; leave it out")
