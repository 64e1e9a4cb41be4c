"""A logistic regression on thirty collinear measurements of breast tumours: a sloppy spectrum.

Which combinations of features do the data determine, how many parameters are left of 31, and what
does it cost to integrate the others out (T5, T6, T8)? On a public record that scikit-learn carries:

    python inference/logistic_regression.py [--small] [--out DIR] [--draws N] [--seed N]

prints the measured figures and what they teach, and writes the run folder DIR, with its
report, which ``brg-prob report`` and :func:`brg_prob.load_run` read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import xarray as xr

from brg_prob import NUTS
from brg_prob.compiled import keep_compiled
from brg_prob.data_record import Record
from inference import _models_page as page
from inference._models_figures import HELD_OUT, TOY, Figures, Floats, Row, Study
from models.logistic import LogisticRegression


def study(small: bool) -> Study:
    """Return the data, columns standardised, and the regression; every sixth row and six columns if small."""
    record = page.package("sklearn.datasets", "scikit-learn").load_breast_cancer()
    rows, columns = (slice(None, None, 6), slice(0, 6)) if small else (slice(None), slice(None))
    x, names = page.standardised(record.data[rows, columns]), tuple(map(str, record.feature_names[columns]))
    return Study(
        title="Logistic regression: is a breast tumour benign, from measurements of its cell nuclei?",
        record=Record(
            subject="breast tumours",
            source=(
                f"breast cancer Wisconsin (Street, Wolberg, Mangasarian 1993, in scikit-learn), {len(x)} "
                f"tumours, {x.shape[1]} measurements, standardised"
            ),
            inputs=names,
            targets=("benign",),
            held_out=HELD_OUT,
        ),
        network=LogisticRegression.for_inputs(x),
        x=x,
        y=np.asarray(record.target[rows], dtype=float),
        engine=TOY if small else NUTS(),
        names={f"slope[{at}]": name for at, name in enumerate(names)},
    )


def accuracy(chosen: Study, tree: xr.DataTree) -> tuple[float, float]:
    """Return the share of held-out tumours told right by the posterior, and by the larger class."""
    x, y = chosen.x[chosen.held_out], chosen.y[chosen.held_out]
    intercept, slope = (page.posterior_draws(tree, name) for name in ("intercept", "slope"))
    mean = np.mean(1 / (1 + np.exp(-(intercept[:, None] + slope @ x.T))), axis=0)
    common = np.mean(chosen.y[~chosen.held_out]) > 0.5
    return float(np.mean((mean > 0.5) == (y > 0.5))), float(np.mean((y > 0.5) == common))


def collinear(x: Floats) -> tuple[int, int]:
    """Return how many pairs of columns are correlated beyond .9, of how many."""
    correlation = np.abs(np.corrcoef(x.T))[np.triu_indices(x.shape[1], 1)]
    return int(np.sum(correlation > 0.9)), correlation.size


def speak(chosen: Study, tree: xr.DataTree, figures: Figures) -> tuple[list[Row], list[str]]:
    """Return the script's own figures and sentences."""
    right, common = accuracy(chosen, tree)
    pairs, every = collinear(chosen.x)
    values = np.array(list(figures.contraction.values()))
    names = list(figures.contraction)
    least, most = (chosen.in_words(names[at]) for at in (values.argmin(), values.argmax()))
    rows = [
        ("collinear columns", f"{pairs} of {every} pairs with |correlation| > 0.9"),
        (
            "told right",
            f"{100 * right:.1f} % of the tumours held out, by the larger class {100 * common:.1f} %",
        ),
        ("best learnt", f"{most} (contraction {values.max():.3f})"),
        ("least learnt", f"{least} (contraction {values.min():.3f})"),
    ]
    sloppy = figures.parameters - figures.stiff
    text = (
        f"{sloppy} directions stay near their prior, the sloppiest {figures.phrases[-1]}: no coefficient "
        f"along it may be read as an effect, yet {100 * right:.0f} % of the tumours held out are told right."
        if sloppy
        else "All directions are determined, so each coefficient may be read by itself."
    )
    return rows, [text]


def main(given: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    return page.main(__file__, str(__doc__), study, speak, given)


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
