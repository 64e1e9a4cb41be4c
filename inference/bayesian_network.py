"""A neural network on the Nile, every weight sampled: symmetries make directions that no data determine.

Neurons may change their order and their sign without a change of the field, so the posterior of the
weights is symmetric, its mean is no network of it, and a Fisher metric at that mean knows less than the
draws do (T5). How far a Gaussian flow along such a metric may be trusted is measured against the
posterior sampled anew at every T (T6). On a record that statsmodels carries:

    python inference/bayesian_network.py [--small] [--out DIR] [--draws N] [--seed N]

prints the measured figures and what they teach, and writes DIR/summary.json and DIR/report.html.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

from brg_prob import NUTS, fisher_metric
from brg_prob.compiled import keep_compiled
from inference import _models_page as page
from inference._models_figures import Figures, Floats, Row, Study
from models.bnn import BayesianNetwork

_DRAWS = 32
"""Draws over which the metric is averaged."""


def study(small: bool) -> Study:
    """Return the data, standardised, and the network: eight neurons; every third year and three if small."""
    frame = page.package("statsmodels.datasets.nile", "statsmodels").load_pandas().data
    rows = frame.to_numpy(dtype=float)[:: 3 if small else 1]
    columns = page.standardised(rows)
    return Study(
        title="A neural network with every weight sampled: the flow of the Nile by year",
        source=(
            f"the Nile at Aswan, {rows[0, 0]:.0f} to {rows[-1, 0]:.0f} (Durbin, Koopman 2001, in "
            f"statsmodels), {len(rows)} years, standardised"
        ),
        network=BayesianNetwork(widths=(3,) if small else (8,)),
        x=columns[:, :1],
        y=columns[:, 1],
        engine=NUTS(chains=2, warmup=200, warm_warmup=100) if small else NUTS(target_accept=0.9),
    )


def worst_r_hat(values: Floats) -> float:
    """Return the largest R-hat of draws (chain, draw, …)."""
    flat = values.reshape(*values.shape[:2], -1)
    return float(np.max(array_stats.rhat(flat, chain_axis=0, draw_axis=1)))


def signs(readout: Floats) -> float:
    """Return how far the share of positive readout weights is from one half, the worst of the neurons."""
    return float(np.max(np.abs(np.mean(readout > 0, axis=0) - 0.5)))


def speak(chosen: Study, tree: xr.DataTree, figures: Figures) -> tuple[list[Row], list[str]]:
    """Return the script's own figures and sentences."""
    kept = ~chosen.held_out
    posterior = tree["posterior"]
    weights = max(worst_r_hat(np.asarray(posterior[name].values)) for name in ("W0", "b0", "A"))
    field = worst_r_hat(np.asarray(posterior["f"].values))
    # a minus in W0 goes with one in A: the means of all signed weights are zero where the chains mix
    offset = signs(page.posterior_draws(tree, "A"))
    averaged = fisher_metric(
        chosen.network, chosen.x[kept], y=chosen.y[kept], at=tree, at_draws=_DRAWS
    ).effective_dimension()
    rows = [
        ("worst R-hat", f"weights {weights:.3f}, field {field:.3f}"),
        ("signs of the readout", f"positive in 50 % ± {100 * offset:.0f} % of the draws, for every neuron"),
        (
            "metric over draws",
            f"{averaged:.2f} effective parameters, averaged over {_DRAWS} draws; at the mean "
            f"{figures.effective:.2f}",
        ),
    ]
    text = [
        f"Of {figures.parameters} weights the draws determine {figures.learnt:.1f} by their contraction: the "
        "data speak of the field, and many networks have the same one."
    ]
    if averaged > 1.1 * figures.effective:
        text.append(
            f"The mean of the weights is not a network that fits: the metric there finds "
            f"{figures.effective:.1f} effective parameters. Averaged over draws it finds {averaged:.1f}, "
            "for it adds up what every one of the equal modes tells apart. Neither is the posterior's "
            f"contraction, {figures.learnt:.1f}, to which only sampling at each T is a guide."
        )
    if weights > 1.01 > field:
        text.append(
            f"The weights have not mixed over their equal modes (R-hat {weights:.2f}), the field has "
            f"({field:.3f})."
        )
    return rows, text


def main(given: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    return page.main(__file__, str(__doc__), study, speak, given)


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
