"""A Poisson regression of visits to a doctor: every direction is stiff, and the counts vary too much.

The Fisher metric of a count is its rate (T5). Where the counts vary more than a Poisson count may,
the metric overstates what they say: the same regression with negative binomial counts says by how
much. On the RAND health insurance experiment, a record that statsmodels carries:

    python inference/poisson_regression.py [--small] [--out DIR] [--draws N] [--seed N]

prints the measured figures and what they teach, and writes the run folder DIR, with its
report, which ``brg-prob report`` and :func:`brg_prob.load_run` read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from brg_prob import NUTS, fisher_metric
from brg_prob.compiled import keep_compiled
from brg_prob.data_record import Record
from inference import _models_page as page
from inference._models_figures import HELD_OUT, TOY, Figures, Row, Study
from models.poisson import PoissonRegression

COLUMNS = {
    "lncoins": "log coinsurance",
    "idp": "deductible plan",
    "lpi": "log incentive",
    "fmde": "log maximum expense",
    "physlm": "physical limitation",
    "disea": "chronic diseases",
    "hlthg": "good health",
    "hlthf": "fair health",
    "hlthp": "poor health",
}
"""Columns of the record in words, by its description."""


def study(small: bool) -> Study:
    """Return the data, columns standardised, and the regression: every 20th row of 20190, or every 150th."""
    frame = page.package("statsmodels.datasets.randhie", "statsmodels").load_pandas().data
    frame = frame.iloc[:: 150 if small else 20]
    x = page.standardised(frame[list(COLUMNS)].to_numpy(dtype=float))
    return Study(
        title="Poisson regression: how often do people visit a doctor?",
        record=Record(
            subject="visits to a doctor",
            source=(
                f"RAND health insurance experiment (Manning et al. 1987, in statsmodels), {len(x)} "
                f"person-years, {x.shape[1]} columns, standardised"
            ),
            inputs=tuple(COLUMNS.values()),
            targets=("visits",),
            held_out=HELD_OUT,
        ),
        network=PoissonRegression.for_inputs(x),
        x=x,
        y=frame["mdvis"].to_numpy(dtype=float),
        engine=TOY if small else NUTS(),
        names={f"slope[{at}]": name for at, name in enumerate(COLUMNS.values())},
    )


def dispersion(y: NDArray[np.float64], log_rate: NDArray[np.float64], parameters: int) -> float:
    """Return Pearson's Σ (y − μ)²/μ per degree of freedom: 1 for Poisson counts."""
    rate = np.exp(log_rate)
    return float(np.sum((y - rate) ** 2 / rate) / (len(y) - parameters))


def concentration_of(y: NDArray[np.float64], log_rate: NDArray[np.float64]) -> float:
    """Return r of Var y = μ + μ²/r by moments; large where the counts vary no more than Poisson counts."""
    rate = np.exp(log_rate)
    return float(np.sum(rate**2) / max(np.sum((y - rate) ** 2 - rate), 1e-6 * np.sum(rate)))


def speak(chosen: Study, tree: xr.DataTree, figures: Figures) -> tuple[list[Row], list[str]]:
    """Return the script's own figures and sentences."""
    x, y = chosen.x[~chosen.held_out], chosen.y[~chosen.held_out]
    intercept, slope = (page.posterior_draws(tree, name) for name in ("intercept", "slope"))
    point = {"intercept": intercept.mean(), "slope": slope.mean(axis=0)}
    log_rate = np.asarray(intercept.mean() + x @ slope.mean(axis=0))
    excess = dispersion(y, log_rate, figures.parameters)
    at = point | {"concentration": concentration_of(y, log_rate)}
    wide = PoissonRegression(dim=x.shape[1], overdispersion=True)
    honest = fisher_metric(wide, x, at=at, sites=("intercept", "slope"), y=y)
    narrower = float(np.sqrt(figures.eigenvalues[0] / honest.eigenvalues[0]))
    strongest = int(np.argmax(np.abs(slope.mean(axis=0))))
    name = chosen.in_words(f"slope[{strongest}]")
    effect = (slope[:, strongest].mean(), slope[:, strongest].std(ddof=1))
    rows = [
        ("dispersion", f"{excess:.2f} (Poisson counts: 1)"),
        (
            "negative binomial",
            f"concentration {at['concentration']:.3g}, effective parameters "
            f"{honest.effective_dimension():.2f}",
        ),
        ("strongest column", f"{name}: {effect[0]:+.3f} ± {effect[1]:.3f} in log rate per sd"),
    ]
    if excess > 1.5:
        text = (
            f"The counts vary {excess:.1f} times as much as Poisson ones: with negative binomial counts the "
            f"stiffest direction is known {narrower:.1f} times less well. The metric answers for the model "
            "that is written down, not for the data."
        )
    else:
        text = f"The counts vary {excess:.1f} times as much as Poisson counts, so the metric can be believed."
    return rows, [text]


def main(given: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    return page.main(__file__, str(__doc__), study, speak, given)


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
