"""Flow 4000 draws over 20 scales, P = 10 000, n = 400, fields at the inputs at every scale."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Case
from brg_prob import coarse_grain, default_scales, fisher_metric, fit
from models.cosnet import CosNet


@partial(jax.jit, static_argnames="shape")
def _normals_and_product(key: jax.Array, matrix: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Return one scale's worth of normals times the mode fields."""
    return jax.random.normal(key, shape) @ matrix


def prepare(small: bool) -> Case:
    """Return ours against the same count of normals and the same matrix products in bare jax."""
    width, n, draws, scales = (300, 40, 100, 4) if small else (10_000, 400, 4000, 20)
    network = CosNet(dim=1, cutoff=20.0, mass=1.0, noise=0.5, width=width)
    x = jnp.linspace(0.0, 10.0, n)[:, None]
    y = jnp.sin(x[:, 0])
    posterior = fit(network, x, y, key=jax.random.key(0), draws=draws)
    metric = fisher_metric(network, x, at=posterior)
    flow = coarse_grain(
        network, posterior, metric, scales=default_scales(float(n), scales), key=jax.random.key(1)
    )
    matrix = jnp.asarray(np.asarray(metric.modes).T)
    start = jnp.asarray(posterior["posterior"]["f"].values[0])

    def ours() -> float:
        return sum(float(field[0, 0, 0]) for field in flow.fields())

    def peer() -> float:
        modes = start @ matrix.T  # into mode coordinates once
        total = float(modes[0, 0])
        for number in range(scales - 1):  # the first scale is the posterior's own: nothing is drawn there
            total += float(_normals_and_product(jax.random.key(number), matrix, (draws, n))[0, 0])
        return total

    def compare(ours_value: float, peer_value: float) -> dict[str, float]:
        # The peer draws other normals, so the outputs are compared with the exact law instead:
        # the flowed draws' second moment per mode is chi-squared about v at every scale.
        worst = 0.0
        chart = flow.chart()
        for observations, (drawn,) in zip(flow.scales, flow.draws(), strict=True):
            z = np.asarray(chart.modes(drawn))[:, :, 0]
            strong = np.asarray(metric.eigenvalues) > 1e-8 * float(metric.eigenvalues[0])
            variance = 1 / (1 + observations * np.asarray(metric.eigenvalues))
            score = (z.var(0, ddof=1) / variance - 1) * np.sqrt((draws - 1) / 2)
            worst = max(worst, float(np.abs(score[strong]).max()))
        assert np.isfinite([ours_value, peer_value]).all()
        assert worst < 6, f"flowed variances are off by {worst:.1f} standard errors"
        return {"largest_z_of_variances": worst}

    return Case(
        ours,
        peer,
        compare,
        "bare jax",
        bar=2.0,
        memory_bar=2048,
        note="normals, transitions, fields at n inputs",
    )
