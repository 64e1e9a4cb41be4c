"""The engine ``nuts``: NumPyro's No-U-Turn sampler on any model, at any T (T6).

The sampling is ``numpyro.infer.MCMC`` with ``numpyro.infer.NUTS`` and nothing else: the same key
gives the draws that a bare run gives, bit for bit. What the tree holds besides is computed after it.
Source: Hoffman, Gelman, arXiv:1111.4246; Phan et al., arXiv:1912.11554.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import xarray as xr
from jax import Array
from numpyro import handlers, infer

from brg_prob.network import Conditioned
from brg_prob.options import nearest
from brg_prob.posterior.engine import Data
from brg_prob.posterior.model_tree import held_out_data, model_tree
from brg_prob.posterior.reparam import REPARAMS, reparametrised, reparams, sampled_names
from brg_prob.results import key_to_json

_CHOICES = {
    "init": ("median", "mean", "prior", "uniform", "feasible"),
    "chain_method": ("vectorized", "sequential", "parallel"),
    "reparam": REPARAMS,
}

STATISTICS = ("potential_energy", "energy", "num_steps", "accept_prob", "adapt_state.step_size")
"""What NumPyro keeps of each step beside positions and divergences."""


@dataclass(frozen=True)
class NUTS:
    """No-U-Turn sampler of any NumPyro model.

    Attributes
    ----------
    chains
        Number of chains; the draws asked for are shared out evenly.
    warmup
        Steps of each chain in which step size and mass matrix adapt; not kept.
    target_accept
        Acceptance probability that the step size aims at; raise it against divergences.
    max_tree_depth
        Most doublings of a trajectory.
    dense_mass
        Whether the mass matrix is dense: for strongly correlated posteriors of few parameters.
    dense_sites
        Sites that share a dense block of the mass matrix, the others being diagonal.
    init
        Where chains start: ``median``, ``mean`` or a draw of the ``prior``, ``uniform`` within
        ``init_radius`` in unconstrained coordinates, ``feasible`` (their origin).
    init_radius
        Half width of the uniform start.
    step_size
        First step size.
    heuristic_step_size
        Whether each adaptation window looks for a reasonable step size first.
    adapt_step_size, adapt_mass
        Whether they adapt.
    regularise_mass
        Whether the estimated mass matrix is shrunk towards a small multiple of the identity.
    forward_mode
        Whether derivatives are forward-mode: for few parameters, or models with while loops.
    chain_method
        ``vectorized``, ``sequential``, or ``parallel`` over the devices jax knows of.
    thinning
        Steps per kept draw.
    reparam
        ``none``; ``loc_scale``, non-centred location-scale sites; ``standard_normal``, every site in
        coordinates where its prior is N(0, 1). Draws are of the original sites.
    likelihood_factors
        ``numpyro.factor`` statements that belong to the likelihood; by default those that change with y.
    warm_warmup
        Warm-up steps of a chain that starts from draws at another T, with their step size and covariance.
    progress
        Whether NumPyro shows its progress bar.

    Raises
    ------
    ValueError
        An option out of range.

    Notes
    -----
    ``sample_stats`` has ArviZ's names: diverging, energy, lp (log density in unconstrained coordinates),
    n_steps, tree_depth, acceptance_rate, step_size. Its attributes ``seconds_sampling`` and
    ``seconds_stored`` are the wall times of the sampling, compilation included, and of everything else.

    Examples
    --------
    >>> NUTS(target_accept=1.2)
    Traceback (most recent call last):
    ValueError: target_accept = 1.2 is no acceptance probability; use one between 0 and 1, such as 0.8
    """

    chains: int = 4
    warmup: int = 1000
    target_accept: float = 0.8
    max_tree_depth: int = 10
    dense_mass: bool = False
    dense_sites: tuple[str, ...] = ()
    init: Literal["median", "mean", "prior", "uniform", "feasible"] = "median"
    init_radius: float = 2.0
    step_size: float = 1.0
    heuristic_step_size: bool = False
    adapt_step_size: bool = True
    adapt_mass: bool = True
    regularise_mass: bool = True
    forward_mode: bool = False
    chain_method: Literal["vectorized", "sequential", "parallel"] = "vectorized"
    thinning: int = 1
    reparam: Literal["none", "loc_scale", "standard_normal"] = "none"
    likelihood_factors: tuple[str, ...] | None = None
    warm_warmup: int = 300
    progress: bool = False

    any_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        least = {"chains": 1, "warmup": 0, "max_tree_depth": 1, "thinning": 1, "warm_warmup": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if not (value >= lowest and value == int(value)):
                raise ValueError(f"{name} = {value} is no such number; use a whole number, at least {lowest}")
        if not 0 < self.target_accept < 1:
            raise ValueError(
                f"target_accept = {self.target_accept} is no acceptance probability; "
                "use one between 0 and 1, such as 0.8"
            )
        for name in ("init_radius", "step_size"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")
        for name, words in _CHOICES.items():
            if (word := getattr(self, name)) not in words:
                raise ValueError(
                    f"{name} = {word!r} is unknown; use {' or '.join(words)}{nearest(str(word), words)}"
                )

    def fit(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        observations: float,
        start: xr.DataTree | None = None,
    ) -> xr.DataTree:
        """Return draws of π_T; see :func:`brg_prob.fit`.

        Parameters
        ----------
        start
            A tree of the same model at another T, from any engine: chains begin at its last draws, the mass
            matrix at the covariance of all of them, and ``warm_warmup`` steps replace ``warmup``.

        Raises
        ------
        ValueError
            The draws do not divide among the chains; the model cannot be sampled (see :class:`Conditioned`).
        """
        conditioned = data.conditioned(network, self.likelihood_factors)
        if start is not None:
            along = self.along(network, data, key=key, draws=draws, scales=[observations], start=start)
            return next(along)
        self.per_chain(draws)
        held_out = held_out_data(conditioned, data)
        begin = time.perf_counter()
        finished = self.sample(conditioned, key=key, draws=draws, observations=observations)
        positions = finished.get_samples(group_by_chain=True)
        values = {name: np.asarray(positions[name]) for name in conditioned.names}
        stats = sample_stats(finished.get_extra_fields(group_by_chain=True))
        seconds = time.perf_counter() - begin
        return nuts_tree(conditioned, held_out, values, stats, key, observations, seconds)

    def sample(self, conditioned: Conditioned, *, key: Array, draws: int, observations: float) -> infer.MCMC:
        """Return the finished NumPyro run, nothing else computed; what :meth:`fit` times as sampling.

        Raises
        ------
        ValueError
            No start with a finite density and gradient was found.
        """
        each = self.per_chain(draws)
        # NumPyro would keep every deterministic site of every draw; model_tree computes those that are stored
        own = handlers.block(
            conditioned.tempered(observations), hide_fn=lambda site: site["type"] == "deterministic"
        )
        model = reparametrised(own, reparams(conditioned, self.reparam))
        mcmc = infer.MCMC(
            self.kernel(conditioned, model),
            num_warmup=self.warmup,
            num_samples=each * self.thinning,
            num_chains=self.chains,
            thinning=self.thinning,
            chain_method=self.chain_method,
            progress_bar=self.progress,
        )
        try:
            with warnings.catch_warnings():  # starts are tried until one lies in the support
                warnings.filterwarnings("ignore", message="Out-of-support values")
                mcmc.run(key, extra_fields=STATISTICS)
        except RuntimeError as reason:
            if "initial parameters" not in str(reason):
                raise
            raise ValueError(
                f"no start with a finite density was found by init = {self.init!r}; use another init "
                f"({', '.join(_CHOICES['init'])}), and check that y lies in the support of its distribution"
            ) from None
        return mcmc

    def along(
        self,
        network: Any,
        data: Data,
        *,
        key: Array,
        draws: int,
        scales: Sequence[float],
        start: xr.DataTree | None = None,
    ) -> Iterator[xr.DataTree]:
        """Yield the tree of each T of ``scales``, each started from the last; one program for all of them.

        The first, without ``start``, is :meth:`fit`'s.
        """
        from brg_prob.posterior.warm_start_nuts import WarmProgram

        conditioned = data.conditioned(network, self.likelihood_factors)
        held_out = held_out_data(conditioned, data)
        program = WarmProgram(self, conditioned, self.per_chain(draws))
        for number, observations in enumerate(scales):
            own = key if len(scales) == 1 else jax.random.fold_in(key, number)
            if start is None:
                start = self.fit(network, data, key=own, draws=draws, observations=float(observations))
            else:
                begin = time.perf_counter()
                values, stats = program(own, float(observations), start)
                seconds = time.perf_counter() - begin
                start = nuts_tree(conditioned, held_out, values, stats, own, float(observations), seconds)
            yield start

    def per_chain(self, draws: int) -> int:
        """Return the draws of each chain, or refuse a number that does not divide among them."""
        each, over = divmod(draws, self.chains)
        if over:
            less = f"{draws - over} or " if each else ""
            raise ValueError(
                f"draws = {draws} do not divide among {self.chains} chains; ask for "
                f"{less}{draws - over + self.chains}, or change chains"
            )
        return each

    def kernel(self, conditioned: Conditioned, model: Any) -> infer.NUTS:
        """Return NumPyro's kernel with these options."""
        starts = {
            "median": infer.init_to_median,
            "mean": infer.init_to_mean,
            "prior": infer.init_to_sample,
            "uniform": partial(infer.init_to_uniform, radius=self.init_radius),
            "feasible": infer.init_to_feasible,
        }
        return infer.NUTS(
            model,
            step_size=self.step_size,
            adapt_step_size=self.adapt_step_size,
            adapt_mass_matrix=self.adapt_mass,
            dense_mass=self.dense_blocks(conditioned),
            target_accept_prob=self.target_accept,
            max_tree_depth=self.max_tree_depth,
            init_strategy=starts[self.init],
            find_heuristic_step_size=self.heuristic_step_size,
            forward_mode_differentiation=self.forward_mode,
            regularize_mass_matrix=self.regularise_mass,
        )

    def dense_blocks(self, conditioned: Conditioned) -> bool | list[tuple[str, ...]]:
        """Return the dense blocks of the mass matrix as NumPyro takes them."""
        unknown = [name for name in self.dense_sites if name not in conditioned.names]
        if unknown:
            raise ValueError(
                f"dense site {unknown[0]!r} is no latent site of the model; its sites: "
                f"{', '.join(conditioned.names)}"
            )
        if self.dense_mass or not self.dense_sites:
            return self.dense_mass
        sampled = sampled_names(conditioned, reparams(conditioned, self.reparam))
        return [tuple(sampled[name] for name in self.dense_sites)]


def sample_stats(fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return NumPyro's statistics of each step under ArviZ's names, those that are there, (chain, draw)."""
    host = {name: np.asarray(value) for name, value in fields.items()}
    found = {}
    for name, source in (
        ("diverging", "diverging"),
        ("energy", "energy"),
        ("acceptance_rate", "accept_prob"),
        ("step_size", "adapt_state.step_size"),
        ("n_steps", "num_steps"),
    ):
        if source in host:
            found[name] = host[source]
    if "potential_energy" in host:
        found["lp"] = -host["potential_energy"]
    if "n_steps" in found:
        found["tree_depth"] = np.log2(np.maximum(found["n_steps"], 1)).astype(int) + 1
    return found


def nuts_tree(
    conditioned: Conditioned,
    held_out: Conditioned | None,
    values: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    key: Array,
    observations: float,
    seconds: float,
) -> xr.DataTree:
    """Return the tree of a run, with its wall times in the attributes of ``sample_stats``."""
    begin = time.perf_counter()
    tree = model_tree(
        conditioned,
        values,
        held_out=held_out,
        sample_stats=stats,
        attrs={"engine": "nuts", "observations": observations, "independent": 0, "key": key_to_json(key)},
    )
    took = {"seconds_sampling": seconds, "seconds_stored": time.perf_counter() - begin}
    tree["sample_stats"].attrs.update({name: round(value, 4) for name, value in took.items()})
    return tree
