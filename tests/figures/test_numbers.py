"""The numbers behind a figure are the tree's, value by value, and what is drawn is among them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from brg_prob import figures

_PATH = Path(__file__).parents[1] / "example_tree.py"
_SPEC = importlib.util.spec_from_file_location("example_tree", _PATH)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)


@pytest.fixture(scope="module")
def tree():
    return example.example_tree()


@pytest.fixture(scope="module")
def drawn(tree):
    """Every picture of the tree, by name; drawn once."""
    return {picture.name: picture for picture in figures.pictures(tree)}


def column(table, start: str) -> np.ndarray:
    """The one column whose name, without its unit, is the given one."""
    (name,) = [name for name in table.columns if name.split(" [")[0] == start]
    return table[name].to_numpy()


def heights(ax) -> np.ndarray:
    """All heights of an axes' lines and error bars."""
    return np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])


def test_field(tree, drawn):
    table, record = drawn["field"].numbers, tree["record"]
    for name, variable in (("input", "input"), ("value", "value"), ("prior sd", "prior_sd")):
        np.testing.assert_array_equal(column(table, name), record[variable].values)
    np.testing.assert_array_equal(column(table, "trained on"), record["training"].values)


def test_spectrum_and_propagators_in_the_order_of_momentum(tree, drawn):
    theory = tree["theory"]
    order = np.argsort(theory["momentum"].values, kind="stable")
    spectrum = drawn["spectrum"].numbers
    np.testing.assert_array_equal(
        column(spectrum, "eigenvalue measured"), theory["fisher_measured"].values[order]
    )
    table = drawn["propagators"].numbers
    first = table[table["observations T"] == tree["flow"]["observations"].values[0]]
    np.testing.assert_array_equal(column(first, "measured"), theory["measured"].values[0, order])
    np.testing.assert_array_equal(column(first, "standard error"), theory["se"].values[0, order])


def test_cutoff_is_the_largest_momentum_kept_counted_one_by_one(tree, drawn):
    table = drawn["cutoff"].numbers
    theory = tree["theory"]
    for cutoff, found in zip(
        column(table, "information cutoff"), column(table, "largest momentum kept, measured"), strict=True
    ):
        kept = [
            p
            for p, value in zip(theory["momentum"].values, theory["fisher_measured"].values, strict=True)
            if value >= cutoff
        ]
        assert found == max(kept) if kept else np.isnan(found)


def test_cutoff_follows_the_formula_of_the_continuum_within_one_mode(drawn):
    # T9a: Λ′² = M_T² − m², the density is 1/(p² + m²)
    table, ex = drawn["cutoff"].numbers, example
    mass = 1 / (column(table, "information cutoff") * ex.BOX * ex.NOISE**2)
    expected = np.sqrt(np.clip(mass - ex.MASS**2, 0, None)).clip(max=ex.CUTOFF)
    found = np.nan_to_num(column(table, "largest momentum kept, measured"))
    spacing = 2 * np.pi / ex.BOX
    assert np.all(found <= expected * (1 + 1e-9))
    assert np.all(found > expected - spacing)


def test_information_and_score_of_each_flow(tree, drawn):
    for name, pairs in (
        (
            "information",
            {"KL to prior": "kl_to_prior", "effective dimension": "effective_dimension"},
        ),
        (
            "score",
            {
                "difference to the unflowed posterior": "score_difference",
                "standard error of the difference": "score_difference_se",
                "score": "test_score",
            },
        ),
    ):
        table = drawn[name].numbers
        for series, flow in (("diffusion", tree["flow"]), ("shell", tree["shell/flow"])):
            rows = table[table["series"] == series]
            for label, variable in pairs.items():
                np.testing.assert_array_equal(column(rows, label), flow[variable].values)


def test_score_bars_are_paired_standard_errors(tree, drawn):
    bars = drawn["score"].figure.axes[0].containers[0]
    segments = np.array(bars.lines[2][0].get_segments())
    np.testing.assert_allclose(
        (segments[:, 1, 1] - segments[:, 0, 1]) / 2, tree["flow"]["score_difference_se"].values, atol=1e-15
    )


def test_score_marks_the_critical_scale(tree, drawn):
    lines = drawn["score"].figure.axes[0].lines
    (line,) = [line for line in lines if "critical" in str(line.get_label())]
    assert set(line.get_xdata()) == {tree["flow"].attrs["critical_scale"]}


def test_theories_state_by_state(tree, drawn):
    theory = tree["field_theory"]
    table = drawn["theories"].numbers
    for series, variable in (("two-point", "two_point"), ("four-point", "four_point"), ("power", "power")):
        for number, state in enumerate(("prior", "posterior")):
            rows = table[(table["series"] == series) & (table["state"] == state)]
            np.testing.assert_array_equal(column(rows, series), theory[variable].values[number])
            np.testing.assert_array_equal(
                column(rows, f"{series} standard error"), theory[f"{variable}_se"].values[number]
            )
    masses = table[table["series"] == "mass²"]
    np.testing.assert_array_equal(column(masses, "mass²"), theory["mass_squared"].values)


def test_theories_draw_the_four_point_function_relative_to_the_variance(tree, drawn):
    theory = tree["field_theory"]
    ax = drawn["theories"].figure.subfigs[0].axes[1]
    relative = theory["four_point"].values / theory["two_point"].values[:, :1] ** 2
    shown = heights(ax)
    assert set(shown[np.abs(shown) > 0]) <= set(relative.ravel())


def test_data_spectrum_and_trust(tree, drawn):
    spectrum = drawn["data-spectrum"].numbers
    for name, variable in (("power", "power"), ("band, lower end", "low"), ("band, upper end", "high")):
        np.testing.assert_array_equal(column(spectrum, name), tree["data_spectrum"][variable].values)
    trust = drawn["trust"].numbers
    np.testing.assert_array_equal(column(trust, "trusted"), tree["trust"]["trusted"].values)
    kinds = trust["drawn as"].to_numpy()
    np.testing.assert_array_equal(kinds == "trusted", tree["trust"]["trusted"].values == 1)
    assert set(kinds[tree["trust"]["trend"].values == 1]) == {"trend"}


def test_momentum_zero_has_its_place_on_a_logarithmic_axis(drawn):
    ax = drawn["trust"].figure.axes[0]
    marked = [line for line in ax.lines if line.get_marker() not in ("", "None")]
    positions = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in marked])
    smallest = 2 * np.pi / example.BOX
    assert np.isclose(positions.min(), smallest / 2)
    assert "0" in [text.get_text() for text in ax.texts]
    label = ax.xaxis.get_major_formatter()
    assert label(0.9 * smallest) == ""
    assert label(1.0) == "1"


def test_convergence_holds_measures_and_ranks_of_every_quantity(tree, drawn):
    diagnostics = tree["diagnostics"]
    table = drawn["convergence"].numbers
    measures, ranks = (table[table["series"] == series] for series in ("measures", "ranks"))
    np.testing.assert_array_equal(column(measures, "R-hat"), diagnostics["r_hat"].values)
    np.testing.assert_array_equal(column(measures, "bulk ESS"), diagnostics["ess_bulk"].values)
    np.testing.assert_array_equal(column(ranks, "draws"), diagnostics["rank_count"].values.ravel())


def test_the_limits_drawn_are_those_of_the_verdict():
    from brg_prob.correspondence import statistics
    from brg_prob.figures import rank_plots

    assert (rank_plots._LARGEST_R_HAT, rank_plots._SMALLEST_ESS) == (
        statistics.MAXIMUM_R_HAT,
        statistics.MINIMUM_ESS,
    )


@pytest.mark.parametrize("several", [False, True], ids=["one input", "several inputs"])
def test_a_missing_target_is_neither_drawn_nor_counted(several):
    x, values = np.linspace(0.0, 1.0, 6), np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0])
    inputs = ("row", x) if not several else (("row", "dim"), np.stack([x, x**2], axis=1))
    columns = {name: ("row", np.ones(6)) for name in ("prior_mean", "prior_sd", "posterior_sd")}
    record = xr.Dataset(
        {
            "input": inputs,
            "value": ("row", values),
            "posterior_mean": ("row", values_or(values, 9.0) + 2.0),
            "training": ("row", np.ones(6, int)),
            **columns,
        },
        attrs={"input_name": "t", "input_unit": "s", "value_name": "level", "value_unit": "m"},
    )
    picture = figures.field_picture(xr.DataTree.from_dict({"/record": record}))
    assert "nan" not in f"{picture.title} {picture.alt}"
    if several:
        assert "to 2 m" in picture.title


def values_or(values, other):
    """Return values with another in the place of those that are missing."""
    return np.where(np.isfinite(values), values, other)
