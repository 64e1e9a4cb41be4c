"""Investment of eleven firms, partially pooled: more parameters than the likelihood has.

Every firm has its own line, drawn from a law whose mean and spread are unknown too. The likelihood sees
lines and noise only, so as many directions as the law has parameters carry no information at all: what a
firm's departure takes, the law can give (T5, T6). On Grunfeld's record, which statsmodels carries:

    python inference/hierarchical.py [--small] [--out DIR] [--draws N] [--seed N]

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
from models.hierarchical import Hierarchical

TARGET, COVARIATE = "log investment", "log capital"


def study(small: bool) -> Study:
    """Return the data, logarithms standardised, and the model; four firms only if small."""
    frame = page.package("statsmodels.datasets.grunfeld", "statsmodels").load_pandas().data
    firms, group = np.unique(frame["firm"].astype(str), return_inverse=True)
    rows = group < (4 if small else len(firms))
    logs = page.standardised(np.log(frame[["invest", "capital"]].to_numpy(dtype=float)[rows]))
    x = np.column_stack([group[rows].astype(float), logs[:, 1]])
    names: dict[str, str] = {}
    for at, firm in enumerate(firms):
        title = firm.title()
        names |= {f"intercept[{at}]": f"level of {title}", f"slope[{at},0]": f"slope of {title}"}
    names |= {"trend[0]": "mean slope", "trend_spread[0]": "spread of slopes"}
    return Study(
        title="A hierarchical regression: the investment of American firms, partially pooled",
        record=Record(
            subject="the investment of American firms",
            source=(
                f"Grunfeld 1958 (in statsmodels), {len(x)} years of {int(x[:, 0].max()) + 1} firms: "
                f"{TARGET} by {COVARIATE}, standardised"
            ),
            inputs=("firm", COVARIATE),
            targets=(TARGET,),
            held_out=HELD_OUT,
        ),
        network=Hierarchical.for_inputs(x),
        x=x,
        y=logs[:, 0],
        engine=TOY if small else NUTS(target_accept=0.95),
        names=names,
    )


def own_lines(chosen: Study) -> Floats:
    """Return the least-squares slope of each firm by itself, (groups,)."""
    x, y = chosen.x[~chosen.held_out], chosen.y[~chosen.held_out]
    each = [x[:, 0] == group for group in range(chosen.network.groups)]
    return np.array([np.polyfit(x[rows, 1], y[rows], 1)[0] for rows in each])


def speak(chosen: Study, tree: xr.DataTree, figures: Figures) -> tuple[list[Row], list[str]]:
    """Return the script's own figures and sentences."""
    slopes = page.posterior_draws(tree, "slope")[:, :, 0].mean(axis=0)
    alone = own_lines(chosen)
    pooled = 1 - float(np.std(slopes) / np.std(alone))
    known = figures.contraction
    of_lines = [value for name, value in known.items() if name.startswith(("intercept", "slope"))]
    of_law = {
        "mean level": known["level"],
        "spread of levels": known["level_spread"],
        "mean slope": known["trend[0]"],
        "spread of slopes": known["trend_spread[0]"],
    }
    spread = page.posterior_draws(tree, "trend_spread")[:, 0]
    low, high = np.quantile(spread, [0.05, 0.95])
    rows = [
        ("learnt of lines", f"{sum(of_lines):.2f} of {len(of_lines)} coefficients (contraction)"),
        ("learnt of their law", ", ".join(f"{name} {value:.2f}" for name, value in of_law.items())),
        ("spread of slopes", f"{spread.mean():.2f}, 90 % interval {low:.2f} to {high:.2f}"),
        ("pooling", f"the firms' slopes spread {100 * pooled:.0f} % less than by least squares alone"),
    ]
    least = min(of_law, key=lambda name: of_law[name])
    seen = len(of_lines) + 1
    hidden = figures.parameters - seen
    text = [
        f"The likelihood sees {seen} of {figures.parameters} parameters, the lines and the noise; the law of "
        f"the lines has {hidden}, and {figures.undetermined} directions carry no information at all"
        + (": along them only the prior tells the law from what single firms do." if hidden else "."),
        f"Of the law of the firms' lines the {least} is learnt least (contraction {of_law[least]:.2f}); "
        f"of {len(of_lines)} coefficients of lines, given that law, the data determine {sum(of_lines):.1f}.",
    ]
    if pooled > 0:
        text.append(
            f"Partial pooling moves the slopes together by {100 * pooled:.0f} %: what a firm's own rows "
            "leave open is filled in by the others."
        )
    return rows, text


def main(given: Sequence[str] | None = None) -> int:
    """Run the script; exit status 0, or 2 for bad usage."""
    return page.main(__file__, str(__doc__), study, speak, given)


if __name__ == "__main__":
    keep_compiled()
    sys.exit(main())
