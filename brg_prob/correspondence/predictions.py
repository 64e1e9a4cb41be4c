"""What T9 says about each plane wave at each scale, and what its wrong variants say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from brg_prob import erg
from brg_prob.arrays import Floats
from brg_prob.correspondence.plane_waves import equispaced_box
from brg_prob.flow import Cut, Scheme
from brg_prob.network import FreeField, require
from brg_prob.spectra import own_spectrum


def erg_prediction(network: Any, x: Any) -> erg.FreeTheory:
    """Return the exact renormalization group's prediction for a free-field network (T9).

    Parameters
    ----------
    network
        Capability FreeField.
    x
        Training inputs, (n, d). A network with random momenta has no box of its own: it gets
        the box that the grid of inputs fills, n^(1/d)·dx on each side.

    Returns
    -------
    FreeTheory
        A function of spectral density, box and noise alone.

    Raises
    ------
    TypeError
        The network is no free field.
    ValueError
        Random momenta, and inputs that are no full equispaced grid.
    """
    field = require(network, FreeField, "erg_prediction")
    amplitude, spectrum = own_spectrum(field)
    return erg.FreeTheory(
        dim=field.dim,
        box=field.box if field.box is not None else equispaced_box(x),
        cutoff=field.cutoff,
        noise=field.noise,
        mass=field.mass,
        amplitude=amplitude,
        spectrum=spectrum,
    )


@dataclass(frozen=True)
class ModePrediction:
    """T9's prediction for the draws of a flow, plane wave by plane wave.

    Attributes
    ----------
    theory
        The field theory.
    scheme
        How the draws were flowed.
    initial
        T of the posterior that was flowed.
    random_momenta
        Whether the network's momenta are random: raw cutoffs then mean another T (T9a).
    reversed_shell
        Predict a shell that coarse-grains the stiff modes instead: a control.
    """

    theory: erg.FreeTheory
    scheme: Scheme
    initial: float
    random_momenta: bool = False
    reversed_shell: bool = False

    def cut(self, scale: float) -> Cut | None:
        """Return what the scheme cuts off; None where all modes are held at the scale's T."""
        return self.scheme.cut(scale)

    def observations(self, scale: float) -> float:
        """Return the T that a scale stands for: itself, 1/Λ_I, or T9's map of a raw cutoff."""
        cut = self.cut(scale)
        if cut is None:
            return float(scale)
        if cut.cutoff <= 0:
            return float("inf")
        if cut.unit == "raw" and self.random_momenta:
            return float(self.theory.observations_at_raw_cutoff(cut.cutoff))
        return 1.0 / cut.cutoff

    def held_at(self, scale: float) -> float:
        """Return the T at which modes that were not coarse-grained are held."""
        return self.scheme.held_at(scale, self.initial)

    def kept(self, p: Floats, scale: float) -> np.ndarray:
        """Return whether each plane wave still follows the data, boolean, the shape of p."""
        if self.reversed_shell:
            return np.asarray(self.theory.fisher_eigenvalue(p), dtype=float) * self.observations(scale) < 1
        if self.cut(scale) is None:
            return np.ones(p.shape, dtype=bool)
        return np.asarray(self.theory.shell_keeps(p, self.observations(scale)))

    def variance(self, p: Floats, scale: float) -> Floats:
        """Return the connected two-point function at |p|: T9b for diffusion, T9a for a shell."""
        held, cut = self.held_at(scale), self.cut(scale)
        drop = cut is not None and cut.drop
        if cut is not None and not self.reversed_shell:
            action: Literal["drop", "reset"] = "drop" if drop else "reset"
            value = self.theory.shell_propagator(p, self.observations(scale), held, action)
            return np.asarray(value, dtype=float)
        conditioned = np.asarray(self.theory.propagator_at(p, held), dtype=float)
        left = np.zeros(p.shape) if drop else np.asarray(self.theory.g0(p), dtype=float)
        return np.where(self.kept(p, scale), conditioned, left)

    def mean_filter(self, p: Floats, scale: float) -> Floats:
        """Return the factor by which each plane wave of the data survives in the mean (T9c)."""
        passed = np.asarray(self.theory.mean_filter(p, self.held_at(scale)), dtype=float)
        return np.where(self.kept(p, scale), passed, 0.0)

    def at_noise(
        self, coefficients: np.ndarray, y: Floats, p: Floats, scale: float, noise: Floats
    ) -> np.ndarray:
        """Carry draws made at their own σ to the theory's σ.

        Given its σ_s, a draw's coefficient is N(filter_s y, G_s) exactly, so that standardised
        with those it is a standard normal: independent draws stay exactly testable where σ is
        sampled. Returned in the theory's own units, mean filter·y and variance G.

        Parameters
        ----------
        coefficients
            (S, o·R), outputs one after the other.
        y
            The data's coefficients, (o·R,).
        noise
            σ_s, (S,).
        """
        copies = y.size // p.size
        kept, left = self.kept(p, scale), self.variance(p, scale)
        g0 = np.asarray(self.theory.g0(p), dtype=float)
        mass_squared = (
            float(self.theory.data_mass_squared(self.held_at(scale))) * (self.theory.noise / noise) ** 2
        )
        own = np.where(kept, erg.propagator(g0[None], mass_squared[:, None]), left)
        own_filter = np.where(kept, erg.mean_filter(g0[None], mass_squared[:, None]), 0.0)
        ratio = np.sqrt(np.divide(left[None], own, out=np.ones_like(own), where=own > 0))
        centred = coefficients - np.tile(own_filter, copies) * y
        carried = centred * np.tile(ratio, copies) + np.tile(self.mean_filter(p, scale), copies) * y
        return np.asarray(carried.astype(coefficients.dtype))


WRONG: dict[str, tuple[str, Callable[[ModePrediction], ModePrediction]]] = {
    "wrong mass": (
        "m is 1.1 times what it is",
        lambda p: dataclasses.replace(p, theory=dataclasses.replace(p.theory, mass=1.1 * p.theory.mass)),
    ),
    "wrong map": (
        "M_T² is twice T/(L^d σ²)",
        lambda p: dataclasses.replace(
            p, theory=dataclasses.replace(p.theory, noise=p.theory.noise / np.sqrt(2))
        ),
    ),
    "reversed shell": (
        "the stiff modes are coarse-grained, the sloppy ones kept",
        lambda p: dataclasses.replace(p, reversed_shell=True),
    ),
}
"""Predictions that must be rejected: name → (what they claim, the prediction made from the right one)."""
