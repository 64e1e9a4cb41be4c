"""One run as it enters a comparison: its groups, and its field back in the record's own units."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from brg_prob.transform import Standardisation

Floats = NDArray[np.float64]

NEEDED = ("field_theory", "flow", "fisher", "record")
"""Groups without which a run cannot be compared."""

STATES = ("prior", "posterior")

_CHUNK = 2**22  # elements of one block of densities: 32 MB


class Reportable(Protocol):
    """What can be compared; :class:`brg_prob.Run` is one."""

    @property
    def tree(self) -> xr.DataTree:
        """The arrays of the run."""
        ...

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``."""
        ...

    @property
    def model(self) -> dict[str, Any]:
        """The content of ``model.json``."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """Log predictive densities of held-out observations, everything in the record's own units.

    Attributes
    ----------
    inputs
        (h, d).
    values
        (h,) observed values of the first output.
    log_density
        (h,) nats; the joint density of the outputs where there are several.
    """

    inputs: Floats
    values: Floats
    log_density: Floats

    @property
    def mean(self) -> float:
        """Return the mean over the observations."""
        return float(self.log_density.mean())

    @property
    def error(self) -> float:
        """Return the mean's standard error from the spread over the observations; NaN for one."""
        h = self.log_density.size
        return float(self.log_density.std(ddof=1) / math.sqrt(h)) if h > 1 else math.nan


@dataclass(frozen=True)
class Reading:
    """A run under its name.

    Attributes
    ----------
    name
        Printable, different from the names of the other runs.
    tree, summary
        Of the run.
    """

    name: str
    tree: xr.DataTree
    summary: dict[str, Any]

    @staticmethod
    def of(name: str, run: Reportable) -> Reading:
        """Read a run.

        Raises
        ------
        ValueError
            A run without a field theory, or a group is missing that this version writes; the message is one
            line with the remedy.
        """
        if run.summary.get("kind") == "model":
            raise ValueError(
                f"run {name!r} is of a model without a linear readout, and field theories are compared of "
                "linear readouts only; leave it out"
            )
        missing = [group for group in NEEDED if group not in run.tree.children]
        if missing:
            raise ValueError(
                f"run {name!r} has no group {missing[0]!r} to compare: it was written by an older brg-prob; "
                "run it again (brg-prob rerun)"
            )
        return Reading(name, run.tree, dict(run.summary))

    def group(self, name: str) -> xr.Dataset:
        """Return a group as a Dataset."""
        return self.tree[name].to_dataset()

    @property
    def record(self) -> dict[str, Any]:
        """Return names, units and source of the record."""
        return dict(self.tree["record"].attrs)

    @property
    def units(self) -> tuple[str, str]:
        """Return the units of the field and of the inputs."""
        attrs = self.tree["field_theory"].attrs
        return str(attrs.get("field_unit", "")), str(attrs.get("length_unit", ""))

    @cached_property
    def preparation(self) -> Standardisation | None:
        """Return what was done to the record before training."""
        text = str(self.record.get("standardisation", ""))
        return Standardisation.from_dict(json.loads(text)) if text else None

    @cached_property
    def log_scale(self) -> float:
        """Return the log Jacobian of the standardisation: log p(record) = log p(internal) − this."""
        return 0.0 if self.preparation is None else self.preparation.log_jacobian

    @cached_property
    def inputs(self) -> Floats:
        """Return the inputs (r, d) at which posterior draws exist, in the record's own units."""
        parts = [self.group("constant_data")["inputs"].values] if self._has("constant_data", "inputs") else []
        if self._has("predictions", "f"):
            parts.append(self.group("predictions_constant_data")["inputs"].values)
        if not parts or not self._has("posterior", "f"):
            return np.empty((0, 0))
        x = np.concatenate([np.asarray(part, dtype=float) for part in parts])
        return x if self.preparation is None else self.preparation.inverse_inputs(x)

    @property
    def independent(self) -> bool:
        """Whether the posterior draws are independent."""
        return bool(int(self.tree.attrs.get("independent", 0)))

    def draws(self, rows: NDArray[np.intp]) -> Floats:
        """Return posterior draws (chain, draw, k) of the first output at rows of ``inputs``, record units."""
        parts = [self.group("posterior")["f"].values]
        if self._has("predictions", "f"):
            parts.append(self.group("predictions")["f"].values)
        n = parts[0].shape[2]
        shape = (*parts[0].shape[:2], len(rows), *parts[0].shape[3:])
        taken = np.empty(shape)
        train = rows < n
        taken[:, :, train] = parts[0][:, :, rows[train]]
        if (~train).any():
            taken[:, :, ~train] = parts[1][:, :, rows[~train] - n]
        if self.preparation is not None:
            internal = self.inputs[rows] - np.asarray(self.preparation.origin)
            taken = self.preparation.inverse(internal, taken)
        return taken if taken.ndim == 3 else taken[..., 0]

    @cached_property
    def posterior_score(self) -> HeldOut | None:
        """Return log E_draws[N(y | f, σ²)] of each held-out observation; None without any."""
        if not self._has("predictions", "f") or not self._has("predictions_data", "y"):
            return None
        noise = self._noise()
        f = np.asarray(self.group("predictions")["f"].values, dtype=float)
        f = f.reshape(-1, *f.shape[2:])
        y = np.asarray(self.group("predictions_data")["y"].values, dtype=float)
        x = np.asarray(self.group("predictions_constant_data")["inputs"].values, dtype=float)
        if not y.size or not np.all(np.isfinite(noise)):
            return None
        density = log_predictive_density(f, y, np.broadcast_to(noise, f.shape[0])) - self.log_scale
        shown, values = x, y
        if self.preparation is not None:
            shown, values = self.preparation.inverse_inputs(x), self.preparation.inverse(x, y)
        return HeldOut(shown, values if values.ndim == 1 else values[:, 0], density)

    @cached_property
    def prior_score(self) -> HeldOut | None:
        """Return the same under the prior, its field taken as normal at each input; one output only."""
        score = self.posterior_score
        record = self.group("record")
        rows = np.asarray(record["training"].values) == 0
        noise = float(record.attrs.get("noise", math.nan))
        outputs = self.group("predictions")["f"].ndim > 3 if score is not None else False
        if score is None or outputs or rows.sum() != score.values.size or not noise > 0:
            return None
        mean, spread = (
            np.asarray(record[name].values, dtype=float)[rows] for name in ("prior_mean", "prior_sd")
        )
        variance = spread**2 + noise**2
        density = -0.5 * ((score.values - mean) ** 2 / variance + np.log(2 * np.pi * variance))
        return HeldOut(score.inputs, score.values, density)

    def _noise(self) -> Floats:
        """Return σ of each draw, or one for all, in the network's units."""
        if self._has("posterior", "noise"):
            return np.asarray(self.group("posterior")["noise"].values, dtype=float).ravel()
        return np.asarray(float(self.tree.attrs.get("noise", math.nan)))

    def _has(self, group: str, variable: str) -> bool:
        """Whether a group holds a variable."""
        return group in self.tree.children and variable in self.tree[group].data_vars


def log_predictive_density(field: Floats, y: Floats, noise: Floats) -> Floats:
    """Return log E_draws[N(y_i | f_i, σ²)] of each observation, on the host.

    Parameters
    ----------
    field
        (S, h) or (S, h, o).
    y
        (h,) or (h, o).
    noise
        σ of each draw, (S,).

    Returns
    -------
    ndarray
        (h,), nats, summed over outputs.

    Examples
    --------
    >>> bool(np.isclose(log_predictive_density(np.zeros((3, 1)), np.zeros(1), np.ones(3))[0], -0.9189385))
    True
    """
    field = field[..., None] if field.ndim == 2 else field
    y = y[:, None] if y.ndim == 1 else y
    draws, h, outputs = field.shape
    constant = outputs * (np.log(noise) + 0.5 * math.log(2 * math.pi))
    step = max(1, _CHUNK // (draws * outputs))
    parts = []
    for start in range(0, h, step):
        rows = slice(start, start + step)
        standard = (y[rows] - field[:, rows]) / noise[:, None, None]
        parts.append(logsumexp(-0.5 * np.sum(standard**2, axis=-1) - constant[:, None], axis=0))
    return np.asarray(np.concatenate(parts) - math.log(draws))


def printable_names(names: Sequence[str]) -> list[str]:
    r"""Return names without control characters, all different, of at most 40 characters.

    Examples
    --------
    >>> printable_names(["a", "a", "b\n"])
    ['a', 'a (2)', 'b']
    """
    made: list[str] = []
    for name in names:
        plain = "".join(c if c.isprintable() else " " for c in str(name)).strip() or "run"
        plain = plain if len(plain) <= 40 else plain[:39] + "…"
        count, unique = 1, plain
        while unique in made:
            count += 1
            unique = f"{plain} ({count})"
        made.append(unique)
    return made
