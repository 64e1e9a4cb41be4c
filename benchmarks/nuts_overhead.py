"""NUTS through the engine against the same bare NumPyro run: logistic regression, four chains (T6)."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import infer

from benchmarks.harness import Case
from brg_prob.network import Conditioned
from brg_prob.posterior import NUTS


def logistic(x: Array, y: Array | None = None) -> None:
    """Run a logistic regression as a NumPyro model."""
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("rows", x.shape[0]):
        numpyro.sample("y", dist.Bernoulli(logits=x @ slope), obs=y)


def prepare(small: bool) -> Case:
    """Return both runs; each call compiles its sampler anew."""
    n, dim, warmup, draws = (20, 2, 20, 40) if small else (2000, 20, 500, 4000)
    x, key = jax.random.normal(jax.random.key(0), (n, dim)), jax.random.key(2)
    y = jax.random.bernoulli(jax.random.key(1), jax.nn.sigmoid(x[:, 0] - x[:, 1])).astype(int)
    engine = NUTS(warmup=warmup)

    def ours() -> np.ndarray:
        run = engine.sample(Conditioned.of(logistic, x, y), key=key, draws=draws, observations=float(n))
        return np.asarray(run.get_samples(group_by_chain=True)["slope"])

    def peer() -> np.ndarray:
        run = infer.MCMC(
            infer.NUTS(logistic, init_strategy=infer.init_to_median),
            num_warmup=warmup,
            num_samples=draws // 4,
            num_chains=4,
            chain_method="vectorized",
            progress_bar=False,
        )
        run.run(key, x, y)
        return np.asarray(run.get_samples(group_by_chain=True)["slope"])

    def same(ours: Any, peer: Any) -> dict[str, float]:
        """Refuse draws that differ in a single bit."""
        differing = float(np.sum(ours != peer))
        assert differing == 0, f"{differing:.0f} of {ours.size} values differ"
        return {"differing_values": differing, "values": float(ours.size)}

    return Case(
        ours,
        peer,
        same,
        "numpyro MCMC",
        bar=1.1,
        note=f"n = {n}, {dim} slopes, {warmup} steps of warm-up, {draws} draws in 4 vectorised chains. Both "
        "sides compile at every call; ours reads and checks the model besides. The draws are the same, bit "
        "for bit. What the tree holds beside them is not in the timing (attribute seconds_stored).",
    )
