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

from brg_prob.arrays import Floats
from brg_prob.summary import floats, group
from brg_prob.transform import Standardisation

NEEDED = ("field_theory", "flow", "fisher", "record")
"""Groups without which a run cannot be compared."""

STATES = ("prior", "posterior")

_CHUNK = 2**22  # elements of one block of densities: 32 MB


class Reportable(Protocol):
    """What can be compared; :class:`brg_prob.Run` is one."""

    @property
    def tree(self) -> xr.DataTree:
        """The arrays of the run."""

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``."""

    @property
    def model(self) -> dict[str, Any]:
        """The content of ``model.json``."""


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
                f"run {name!r} holds draws of all latent sites (engine {run.summary.get('engine')}), and "
                "field theories are compared of linear readouts by their own engines only (--engine exact, "
                "gradient_flow, sgd_exact, ensemble); leave it out"
            )
        missing = [group for group in NEEDED if group not in run.tree.children]
        if missing:
            raise ValueError(
                f"run {name!r} has no group {missing[0]!r} to compare: it was written by an older brg-prob; "
                "run it again (brg-prob rerun)"
            )
        return Reading(name, run.tree, dict(run.summary))

    def group(self, name: str) -> xr.Dataset:
        """Return a group as a Dataset, an empty one where there is none."""
        return group(self.tree, name)

    @property
    def record(self) -> dict[str, Any]:
        """Return names, units and source of the record."""
        return dict(self.tree["record"].attrs)

    def same_record(self, other: Reading, *keys: str) -> bool:
        """Whether two runs say the same of their records under some keys."""
        return all(self.record.get(key, "") == other.record.get(key, "") for key in keys)

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
        groups = [self.group(name) for name in ("constant_data", "predictions_constant_data")]
        parts = [floats(data, "inputs") for data in groups if "inputs" in data]
        if not parts or "f" not in self.group("posterior"):
            return np.empty((0, 0))
        x = np.concatenate(parts)
        return x if self.preparation is None else self.preparation.inverse_inputs(x)

    @property
    def independent(self) -> bool:
        """Whether the posterior draws are independent."""
        return bool(int(self.tree.attrs.get("independent", 0)))

    @property
    def draw_count(self) -> int:
        """Return the number of posterior draws."""
        sizes = self.group("posterior").sizes
        return int(sizes["chain"] * sizes["draw"])

    def draws(self, rows: NDArray[np.intp]) -> Floats:
        """Return posterior draws (chain, draw, k) of the first output at rows of ``inputs``, record units."""
        groups = [self.group(name) for name in ("posterior", "predictions")]
        parts = [data["f"].values for data in groups if "f" in data]
        n = parts[0].shape[2]
        train = rows < n
        taken = np.empty((*parts[0].shape[:2], len(rows), *parts[0].shape[3:]))
        taken[:, :, train] = parts[0][:, :, rows[train]]
        if (~train).any():
            taken[:, :, ~train] = parts[1][:, :, rows[~train] - n]
        if self.preparation is not None:
            internal = self.inputs[rows] - np.asarray(self.preparation.origin)
            taken = self.preparation.inverse(internal, taken)
        return taken if taken.ndim == 3 else taken[..., 0]

    def score(self, state: str) -> HeldOut | None:
        """Return the scores of the prior or of the posterior."""
        return self.posterior_score if state == "posterior" else self.prior_score

    @cached_property
    def posterior_score(self) -> HeldOut | None:
        """Return log E_draws[N(y | f, σ²)] of each held-out observation; None without any."""
        if "f" not in self.group("predictions") or "y" not in self.group("predictions_data"):
            return None
        f, y = floats(self.group("predictions"), "f"), floats(self.group("predictions_data"), "y")
        x, noise = floats(self.group("predictions_constant_data"), "inputs"), self._noise()
        if not y.size or not np.all(np.isfinite(noise)):
            return None
        draws = f.reshape(-1, *f.shape[2:])
        density = log_predictive_density(draws, y, np.broadcast_to(noise, len(draws))) - self.log_scale
        if self.preparation is not None:
            x, y = self.preparation.inverse_inputs(x), self.preparation.inverse(x, y)
        return HeldOut(x, y if y.ndim == 1 else y[:, 0], density)

    @cached_property
    def prior_score(self) -> HeldOut | None:
        """Return the same under the prior, its field taken as normal at each input; one output only."""
        score, record = self.posterior_score, self.group("record")
        if score is None or self.group("predictions")["f"].ndim > 3:
            return None
        rows = np.asarray(record["training"].values) == 0
        noise = float(record.attrs.get("noise", math.nan))
        if rows.sum() != score.values.size or not noise > 0:
            return None
        mean, spread = (floats(record, name)[rows] for name in ("prior_mean", "prior_sd"))
        variance = spread**2 + noise**2
        density = -0.5 * ((score.values - mean) ** 2 / variance + np.log(2 * np.pi * variance))
        return HeldOut(score.inputs, score.values, density)

    def _noise(self) -> Floats:
        """Return σ of each draw, or one for all, in the network's units."""
        if "noise" in self.group("posterior"):
            return floats(self.group("posterior"), "noise").ravel()
        return np.asarray(float(self.tree.attrs.get("noise", math.nan)))


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
