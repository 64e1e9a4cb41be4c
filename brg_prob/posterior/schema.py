"""One builder for every engine's posterior tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jax import Array

from brg_prob.derived import DERIVED, PREDICTIVE_KEY, with_derived
from brg_prob.posterior.engine import Data
from brg_prob.results import Attribute, build_tree, key_to_json

PREDICTIVE = 0x5EED
"""Moves a fit's key on to that of draws of y."""
TRAINED = "the draws are trained networks, not draws of a posterior"
"""Why they have no law in closed form, and no observation can be left out of them."""


def no_posterior(attrs: Mapping[Any, Any]) -> str:
    """Return why draws are those of no posterior at T, by the attributes of their tree; empty if they are."""
    if str(attrs.get("scheme", "")).lower() == "shell":
        return "the draws were coarse-grained by an information shell, and are no posterior's"
    return str(attrs.get("no_posterior", ""))


def squeeze_outputs(field: Any) -> tuple[Any, list[str]]:
    """Return a field (..., o) without the last axis if o = 1, and the dimension names it adds."""
    return (field[..., 0], []) if field.shape[-1] == 1 else (field, ["output"])


def posterior_tree(
    data: Data,
    *,
    field: Array,
    noise: Array | np.ndarray,
    attrs: Mapping[str, Attribute],
    sampled_noise: bool,
    dual: Array | None = None,
    member: Array | np.ndarray | None = None,
    log_prior: Array | None = None,
    predictive: Array | None = None,
    likelihood: bool = True,
) -> xr.DataTree:
    """Return the common tree.

    Parameters
    ----------
    data
        What was conditioned on.
    field
        (chain, draw, n + h, o): training, then held-out inputs.
    noise
        σ, (chain, draw); stored where it was sampled, else its median is the attribute ``noise``.
    dual
        c, (chain, draw, n, o).
    member, log_prior
        (chain, draw).
    predictive
        Key of draws of y at the training inputs, group ``posterior_predictive``; None: none are made.
    likelihood
        Whether the group ``log_likelihood`` is made.
    """
    n = data.n
    host = np.asarray(field)  # slices of host arrays compile nothing
    train, extra = squeeze_outputs(host[:, :, :n])
    y, _ = squeeze_outputs(np.asarray(data.y))
    sample = ["chain", "draw"]
    groups: dict[str, dict[str, Any]] = {
        "posterior": {"f": train},
        "observed_data": {"y": y},
        "constant_data": {"inputs": data.x},
    }
    dims = {
        "f": [*sample, "x", *extra],
        "dual": [*sample, "x", *extra],
        "noise": sample,
        "member": sample,
        "y": ["x", *extra],
        "inputs": ["x", "dim"],
        "readout": sample,
    }
    if dual is not None:
        groups["posterior"]["dual"] = squeeze_outputs(np.asarray(dual))[0]
    if member is not None:
        groups["posterior"]["member"] = member
    if sampled_noise:
        groups["posterior"]["noise"] = noise
    if log_prior is not None:
        groups["log_prior"] = {"readout": log_prior}
    if data.held_out is not None:
        x_held, y_held = data.held_out
        groups["predictions"] = {"f": squeeze_outputs(host[:, :, n:])[0]}
        groups["predictions_constant_data"] = {"inputs": x_held}
        groups["predictions_data"] = {"y": squeeze_outputs(np.asarray(y_held))[0]}
        for name in ("predictions/f", "predictions_constant_data/inputs", "predictions_data/y"):
            dims[name] = ["x_held_out" if d == "x" else d for d in dims[name.split("/")[1]]]
    derived = ["log_likelihood"] * likelihood + ["predictions_log_likelihood"] * (data.held_out is not None)
    own: dict[str, Attribute] = {"noise": float(np.median(np.asarray(noise)))}
    if predictive is not None:
        derived.append("posterior_predictive")
        own[PREDICTIVE_KEY] = key_to_json(predictive)
    own[DERIVED] = ",".join(derived)
    return with_derived(build_tree(groups, dims=dims, attrs={**attrs, **own}))


def trained_tree(
    *,
    readout: Array | None = None,
    hidden: Mapping[str, Array] | None = None,
    loss: Array | None = None,
    epochs: np.ndarray | None = None,
) -> xr.DataTree:
    """Return the groups of networks that were trained, and so cannot be drawn again from a key.

    Parameters
    ----------
    readout
        Raw weights, (chain, draw, P, o).
    hidden
        Trained hidden sites, (member, ...); none where the hidden layers are frozen and
        regenerate from ``hidden_keys``.
    loss
        Training loss, (chain, draw, R), after ``epochs`` (R,).
    """
    groups: dict[str, dict[str, Any]] = {"trained": dict(hidden or {})}
    dims = {
        name: ["member", *(f"{name}_{axis}" for axis in range(leaf.ndim - 1))]
        for name, leaf in groups["trained"].items()
    }
    if readout is not None:
        groups["trained"]["readout"], extra = squeeze_outputs(np.asarray(readout))
        dims["readout"] = ["chain", "draw", "parameter", *extra]
    if loss is not None:
        groups["training"] = {"loss": loss}
        dims["loss"] = ["chain", "draw", "epoch"]
    return build_tree(groups, dims=dims, coords={} if epochs is None else {"epoch": epochs})
