"""Generated models against a loop over their rows; wrong readings must be found out."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brg_prob.network import Conditioned
from exams.generated import FAMILIES, LIMITS, outcome, specs
from exams.generated.checks import complaints
from exams.generated.models import (
    DETERMINISTIC,
    HYPERS,
    KINDS,
    LATENTS,
    MISSING,
    NAMES,
    PLATES,
    SHAPES,
    TARGETS,
    Spec,
    admitted,
    build,
    sensible,
)
from exams.generated.reference import Reference

CHOICES = {
    "family": tuple(FAMILIES),
    "shape": SHAPES,
    "target": TARGETS,
    "plate": PLATES,
    "name": NAMES,
    "latent": LATENTS,
    "kind": KINDS,
    "hyper": HYPERS,
    "deterministic": DETERMINISTIC,
    "missing": MISSING,
}
MODELS = st.sampled_from(tuple(FAMILIES)).flatmap(
    lambda family: st.builds(
        Spec,
        **{
            field: st.sampled_from(among)
            for field, among in (CHOICES | {"family": (family,), "shape": admitted(family)}).items()
        },
    ).map(sensible)
)


@settings(max_examples=24, deadline=None, derandomize=True)
@given(spec=MODELS, drawn=st.integers(0, 4))
def test_a_model_is_read_as_a_loop_over_its_rows_says_or_is_refused_in_a_line(spec, drawn):
    said = outcome(spec, 3, metric=False, tree=drawn == 4)
    assert said.startswith(("ok", "refused: ")), said


def test_the_metric_of_a_model_is_that_of_a_loop_over_its_rows():
    assert outcome(Spec("StudentT", plate="rows"), 3, metric=True, tree=False) == "ok"


def test_hardly_any_model_is_refused():
    many = specs(1, 200)
    assert len(set(many)) == 200
    gaps = [s for s in many if s.shape in ("lag", "scan") and s.missing != "none"]
    assert 0 < len(gaps) <= 10


def test_every_choice_is_made_by_some_of_the_models():
    """And what does not go together is never together."""
    many = specs(1, 200)
    assert [field.name for field in dataclasses.fields(Spec)] == list(CHOICES)
    for field, among in CHOICES.items():
        assert {getattr(spec, field) for spec in many} == set(among)
    assert all(sensible(spec) == spec for spec in many)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reference_law_is_normalised_and_has_its_mean(name):
    """So that a wrong reference would show by itself; NumPyro takes no part."""
    family = FAMILIES[name]
    y, weight = family.nodes(0.3, 0.8)
    with np.errstate(all="ignore"):
        mass = weight * np.exp(family.logp(y, 0.3, 0.8))
    mass = np.where(np.isfinite(mass), mass, 0.0)
    assert mass.sum() == pytest.approx(1.0, abs=1e-5)
    mean = family.mean(0.3, 0.8)
    if name == "Cauchy":  # the median
        assert mass[y < mean].sum() == pytest.approx(0.5, abs=1e-2)
    elif name == "VonMises":
        assert np.angle(np.sum(mass * np.exp(1j * y))) == pytest.approx(mean)
    elif name in ("Categorical", "OrderedLogistic"):
        np.testing.assert_allclose(mass, mean)
    else:
        np.testing.assert_allclose(np.tensordot(mass, y, axes=1), mean, rtol=1e-4)


def test_a_gap_in_a_series_is_the_limit_that_is_documented():
    spec = Spec("Normal", shape="scan", missing="row")
    said = outcome(spec, 0, metric=False)
    assert re.fullmatch("refused: " + LIMITS[0], said)
    assert "row 2" in said


def plain(model, x, y):
    """Read a model as NumPyro alone does: the target a column, whatever the law."""
    data = Conditioned.of(model, x, y)
    reading = dataclasses.replace(data.reading, taken={})
    return dataclasses.replace(data, y=data.y.reshape(-1, 1), reading=reading)


def filled(model, x, y):
    """Read a model with its missing entries filled, and counted."""
    return Conditioned.of(model, x, np.where(np.isnan(y), np.nanmean(y), y))


def once(model, x, y):
    """Read a model with the weight of every row taken for n."""
    data = Conditioned.of(model, x, y)
    observed = np.ones_like(data.reading.observed)
    return dataclasses.replace(data, reading=dataclasses.replace(data.reading, observed=observed))


@pytest.mark.parametrize(
    ("reader", "spec", "found"),
    [
        (plain, Spec("Normal"), "log-likelihood of 'y'"),
        (filled, Spec("Normal", missing="row"), "log-likelihood of 'y'"),
        (once, Spec("Normal", plate="masked"), "n = 6 for 4"),
    ],
)
def test_a_wrong_reading_is_found_out(reader, spec, found):
    rng = np.random.default_rng(0)
    reference = Reference.drawn(spec, rng)
    said = complaints(reference, rng, metric=False, tree=False, reader=reader)
    assert any(one.startswith(found) for one in said)
    assert any(one.startswith("log density at T") for one in said)
    assert not complaints(reference, rng, metric=False, tree=False)


def test_a_wrong_metric_is_found_out():
    """The same rows with weights, which on average are 1."""
    rng = np.random.default_rng(0)
    reference = Reference.drawn(Spec("Poisson"), rng)
    weighted = build(Spec("Poisson", plate="scaled"))
    said = complaints(
        reference, rng, metric=True, tree=False, reader=lambda model, x, y: Conditioned.of(weighted, x, y)
    )
    assert any(one.startswith("n tr I") for one in said)
    assert not complaints(reference, rng, metric=True, tree=False)
