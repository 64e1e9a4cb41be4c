"""Kinds of models that a reader of models can trip over, in Python: closed forms and quadrature are met.

The exam of the same name runs all of them, and more of each kind, through the command line.
"""

import dataclasses

import jax
import numpy as np
import pytest

import brg_prob
from exams.kinds import KINDS, cases_of, model_of
from exams.kinds.case import normal_log, wrong, wrong_information

ALL = {kind: cases_of(kind) for kind in KINDS}
FIRST = {kind: cases[0] for kind, cases in ALL.items()} | {"reverse_only": ALL["reverse_only"][1]}
REFUSED = {kind: case for kind, case in FIRST.items() if case.refused}
ANSWERED = {kind: case for kind, case in FIRST.items() if not case.refused}


def fitted(kind, case, draws=1000):
    """Return what is bound, and its posterior."""
    bound = brg_prob.bind(
        case.table,
        model_of(kind, case),
        target=case.target.split(",") if case.target else None,
        drop_missing="--drop-missing" in case.words,
    )
    engine = brg_prob.Laplace() if case.engine == "laplace" else brg_prob.NUTS(warmup=300)
    key = jax.random.key(1)
    return bound, brg_prob.fit(bound.network, bound.x, bound.y, engine=engine, key=key, draws=draws)


@pytest.mark.parametrize("kind", ANSWERED)
def test_each_kind_is_answered_with_its_right_value(kind):
    case = ANSWERED[kind]
    _, tree = fitted(kind, case)
    assert wrong(case, tree) == ""
    shifted = {name: (mean + sd, sd) for name, (mean, sd) in case.posterior.items()}
    narrow = {name: (mean, 0.4 * sd) for name, (mean, sd) in case.posterior.items()}
    for other, moment in ((shifted, "mean of"), (narrow, "sd of")):
        assert moment in wrong(dataclasses.replace(case, posterior=other), tree)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_right_answer_is_refused_in_one_line(kind):
    case = REFUSED[kind]
    with pytest.raises(ValueError, match=case.refused) as refusal:
        fitted(kind, case)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_a_run_in_python_has_the_metric_and_says_what_was_done():
    """Of a parameter that is held, under a name that no file can hold."""
    case = FIRST["params"]
    bound = brg_prob.bind(case.table, model_of("params", case))
    run = brg_prob.run(
        bound.network, bound.x, bound.y, key=jax.random.key(0), engine=brg_prob.Laplace(), draws=600, scales=2
    )
    assert wrong(case, run.tree) == ""
    found = [run.summary["observations"] * value for value in run.summary["fisher"]["eigenvalues"]]
    assert wrong_information(case, found) == ""
    assert "right 1000" in wrong_information(
        dataclasses.replace(case, information=(2 * case.information[0],)), found
    )
    assert any("numpyro.param 's' is held at 2" in note for note in run.summary["notes"])


OTHERS = {
    kind: [case for case in cases if case.information][-1]
    for kind, cases in ALL.items()
    if any(case.information for case in cases)
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_metric_of_another_input_of_each_kind_is_the_closed_form(kind):
    case = OTHERS[kind]
    target = case.target.split(",") if case.target else None
    bound = brg_prob.bind(case.table, model_of(kind, case), target=target)
    metric = brg_prob.fisher_metric(bound.network, bound.x, y=bound.y)
    found = metric.observations * np.asarray(metric.eigenvalues)
    assert wrong_information(case, found.tolist()) == ""


def test_the_end_of_a_series_is_scored_one_step_ahead():
    case = next(case for case in ALL["series"] if case.score is not None)
    t, y = (np.asarray(case.table[name], float) for name in ("t", "y"))
    model = model_of("series", case)
    rows = slice(90, None)
    tree = brg_prob.fit(
        model,
        t[:90, None],
        y[:90],
        engine=brg_prob.Laplace(),
        key=jax.random.key(0),
        draws=2000,
        held_out=(t[rows, None], y[rows]),
    )
    assert wrong(case, tree) == ""
    terms = tree["predictions_log_likelihood"]["y"].values.reshape(-1, 30)
    scores = np.logaddexp.reduce(terms, axis=0) - np.log(len(terms))
    (mean, sd), past = case.posterior["phi"], y[89:-1]
    right = normal_log(y[rows], mean * past, np.sqrt(1 + (sd * past) ** 2))
    np.testing.assert_allclose(scores, right, atol=0.02)
    assert right.mean() == pytest.approx(case.score)
    without = normal_log(y[rows], 0.0, 1.0)  # what would be right if no row before were given
    assert np.abs(scores - without).max() > 0.3
