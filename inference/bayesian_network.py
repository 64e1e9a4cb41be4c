"""A neural network on the Nile, every weight sampled: symmetries make directions that no data determine.

Neurons may change their order and their sign without a change of the field, so the posterior of the
weights is symmetric, and neither its mean nor the spread of single weights says what was learnt (T5).
How far a Gaussian flow may then be trusted is measured against the posterior sampled anew at every T
(T6). On a record that statsmodels carries:

    python inference/bayesian_network.py [--small] [--out DIR] [--draws N] [--seed N]

prints the measured figures and what they teach, and writes the run folder DIR, with its
report, which ``brg-prob report`` and :func:`brg_prob.load_run` read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

from brg_prob import NUTS, fisher_metric
from brg_prob.compiled import keep_compiled
from brg_prob.data_record import Record
from brg_prob.transform import Standardisation
from inference import _models_page as page
from inference._models_figures import HELD_OUT, TOY, Figures, Floats, Row, Study
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
        record=Record(
            subject="the flow of the Nile",
            source=(
                f"the Nile at Aswan, {rows[0, 0]:.0f} to {rows[-1, 0]:.0f} (Durbin, Koopman 2001, in "
                f"statsmodels), {len(rows)} years, standardised"
            ),
            inputs=("standardised year",),
            targets=("flow",),
            units={"flow": "10⁸ m³"},
            preparation=Standardisation(
                (0.0,), (0.0,), (float(rows[:, 1].mean()),), (float(rows[:, 1].std()),)
            ),
            held_out=HELD_OUT,
        ),
        network=BayesianNetwork(widths=(3,) if small else (8,)),
        x=columns[:, :1],
        y=columns[:, 1],
        engine=TOY if small else NUTS(target_accept=0.9),
    )


def worst_r_hat(values: Floats) -> float:
    """Return the largest R-hat of draws (chain, draw, …)."""
    flat = values.reshape(*values.shape[:2], -1)
    return float(np.max(array_stats.rhat(flat, chain_axis=0, draw_axis=1)))


def predictive(tree: xr.DataTree) -> float:
    """Return the effective number of parameters of prediction, Σ_i Var log p(y_i|θ) (arXiv:1004.2316)."""
    logs = np.asarray(tree["log_likelihood"]["y"].values, dtype=float)
    return float(np.sum(np.var(logs, axis=(0, 1), ddof=1)))


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
    used = predictive(tree)
    rows.append(("used in prediction", f"{used:.2f} effective parameters (variance of the log-likelihood)"))
    text = [
        f"The weights' own spread shrinks by {figures.learnt:.1f} of {figures.parameters} parameters, and "
        f"the metric at their mean finds {figures.effective:.1f}; prediction uses {used:.1f}. Width and mean "
        "are taken over networks that differ by order and sign of their neurons."
    ]
    if averaged > 1.1 * figures.effective:
        text.append(
            f"Averaged over draws the metric finds {averaged:.1f}: what each of the equal modes tells apart "
            "is added up. Diffusion along one metric for them all is an approximation, tempering its test."
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
