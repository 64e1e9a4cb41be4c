"""An ensemble, an exact readout and a sampled model walk the same way; what is theirs by nature differs."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import brg_prob
from models.cosnet import CosNet
from models.logistic import LogisticRegression

ROOT = Path(brg_prob.__file__).parent
ROOMS = ("pipeline", "flow", "correspondence")
X = np.arange(24)[:, None] / 4.0
OPTIONS = {"key": jax.random.key(0), "scales": 2}

SCHEMES = {"flow/diffusion.py", "flow/shell.py", "flow/tempering.py"}
SCORES = {
    "flow/leave_one_out.py",
    "flow/prediction.py",
    "flow/score.py",
}  # in closed form, by draws, or not at all
T9 = {
    "free_field.py",
    "predictions.py",
    "observed_power.py",
    "momentum_survey.py",
    "plane_waves.py",
    "closed_form.py",
}
T6 = {"sampled_anew.py", "two_sample.py", "marginals.py", "rank_scores.py", "agreement.py"}
TESTS = {
    "checks.py",
    "moments.py",
    "statistics.py",
    "chains.py",
    "convergence.py",
    "verdicts.py",
    "hypotheses.py",
}
HYPOTHESES = {f"correspondence/{name}" for name in T9 | T6 | TESTS}
READ_BY_HYPOTHESES = {
    "draw_noise",
    "hidden",
    "targets",
    "noise",
    "z",
    "labels",
    "directions",
    "_with_modes",
    "no_posterior",
    "no_coordinates",
    "divergences",
    "projections",
}


def entered(call):
    """Return (file, function) of the three rooms that a call enters."""
    seen = set()

    def note(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            file = Path(code.co_filename).relative_to(ROOT).as_posix()
            if file.split("/")[0] in ROOMS:
                seen.add((file, code.co_qualname))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


@pytest.fixture(scope="module")
def walked():
    """Return what each of three runs enters; modules are imported before."""
    rng = np.random.default_rng(0)
    lattice, random = CosNet(box=6.0, cutoff=4.0), CosNet(width=12, cutoff=4.0)
    nuts = brg_prob.NUTS(chains=2, warmup=50, warm_warmup=50)
    labels = (rng.uniform(size=24) > 0.5).astype(float)
    runs = {
        "exact": lambda: brg_prob.run(lattice, X, np.sin(X[:, 0]), draws=60, **OPTIONS),
        "ensemble": lambda: brg_prob.run(
            random, X, np.sin(X[:, 0]), draws=40, engine=brg_prob.Ensemble(epochs=5), **OPTIONS
        ),
        "logistic": lambda: brg_prob.run(
            LogisticRegression(dim=2), rng.normal(size=(24, 2)), labels, draws=100, engine=nuts, **OPTIONS
        ),
    }
    entered(runs["exact"])
    return {name: entered(call) for name, call in runs.items()}


def test_the_ways_differ_in_schemes_scores_and_hypotheses_alone(walked):
    shared = set.intersection(*walked.values())
    for name, functions in walked.items():
        for file, function in sorted(functions - shared):
            plain = function.split(".<locals>")[0]
            own = file in SCHEMES | SCORES | HYPOTHESES
            own |= file == "flow/flow.py" and plain.rpartition(".")[2] in READ_BY_HYPOTHESES | {"_diverged"}
            own |= (file, plain) == ("flow/flow_summary.py", "_not_left_out")
            own |= (file, plain) == (
                "flow/flow_summary.py",
                "_sampled_divergence",
            )  # in closed form, or by draws
            own |= (file, plain) == ("pipeline/run_stages.py", "_flowed")  # the stage of the truth
            assert own, f"{name} alone enters {function} in {file}"


def test_all_three_enter_what_the_rooms_are_made_of(walked):
    for file, function in (
        ("pipeline/run_stages.py", "run"),
        ("pipeline/run_stages.py", "_flowed"),
        ("pipeline/fitted.py", "Branch.judged"),
        ("pipeline/shown.py", "shown"),
        ("flow/flow.py", "coarse_grain"),
        ("flow/flow.py", "Flow.draws"),
        ("flow/flow.py", "Flow.posteriors"),
        ("flow/flow_summary.py", "summarise"),
        ("flow/diffusion.py", "Diffusion.walk"),
        ("flow/shell.py", "Shell.walk"),
        ("correspondence/hypotheses.py", "first_that_applies"),
        ("correspondence/convergence.py", "with_convergence"),
    ):
        for name, functions in walked.items():
            assert (file, function) in functions, f"{name} does not enter {function}"
