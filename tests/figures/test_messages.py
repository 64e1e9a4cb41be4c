"""Titles say what the numbers say: each is tried on a tree of which it is true and on the contrary."""

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


@pytest.fixture
def tree():
    return example.example_tree()


def test_training_narrows_or_widens_the_field(tree):
    assert "narrows" in figures.field_picture(tree).title
    tree["record"]["posterior_sd"].values[:] = 20.0
    assert "widens" in figures.field_picture(tree).title


def test_the_spectrum_lies_on_the_line_or_at_a_distance_from_it(tree):
    assert "on the predicted line" in figures.spectrum_picture(tree).title
    tree["theory"]["fisher_measured"].values[:] *= 1.23
    assert "within 23 % of prediction" in figures.spectrum_picture(tree).title


def test_an_information_cutoff_is_a_momentum_cutoff_only_if_it_keeps_the_same_modes(tree):
    assert "is a momentum cutoff: at all 12 scales" in figures.cutoff_picture(tree).title
    tree["theory"]["fisher_measured"].values[3] = 0.0  # a soft mode that the data do not see
    assert figures.cutoff_picture(tree).title.startswith("At ")
    assert "other modes" in figures.cutoff_picture(tree).title


def test_rounding_does_not_part_modes_of_equal_momentum(tree):
    theory = tree["theory"]
    cutoff = theory["fisher_predicted"].values[7]
    tree["flow"]["observations"].values[4] = 1 / cutoff
    theory["fisher_measured"].values[7] = cutoff * (1 - 1e-13)
    theory["fisher_measured"].values[8] = cutoff * (1 + 1e-13)
    assert "at all 12 scales" in figures.cutoff_picture(tree).title


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("consistent", "lie on"), ("inconsistent", "depart from"), ("undetermined", "stays open")],
)
def test_propagators_do_not_claim_an_agreement_that_was_not_confirmed(tree, verdict, words):
    tree["checks"]["verdict"].values[0] = verdict
    assert words in figures.propagator_picture(tree).title
    del tree["checks"]
    tree.attrs["verdict"] = verdict
    assert words in figures.propagator_picture(tree).title


def test_the_mass_is_raised_or_lowered(tree):
    assert "Training raises" in figures.running_picture(tree).title
    theory = tree["theory"]
    theory["running_mass_squared_measured"].values[:] = theory["running_mass_squared_measured"].values[::-1]
    assert "Training lowers" in figures.running_picture(tree).title


def test_the_flow_forgets_or_does_not(tree):
    assert "forgets step by step" in figures.information_picture(tree).title
    divergence = tree["flow"]["kl_to_prior"].values
    divergence[[3, 4]] = divergence[[4, 3]]
    assert "not at every step" in figures.information_picture(tree).title
    divergence[:] = divergence[::-1].copy()
    assert "does not forget" in figures.information_picture(tree).title
    assert "not sampled: no error bars" in figures.information_picture(tree).caption
    tree["flow"].attrs["kl_from"] = "moments"
    assert "errs as the draws do" in figures.information_picture(tree).caption


def test_the_critical_scale_is_named_with_the_cost_of_the_next(tree):
    title = figures.score_picture(tree).title
    scales, difference = tree["flow"]["scale"].values, tree["flow"]["score_difference"].values
    at = int(np.flatnonzero(scales == tree["flow"].attrs["critical_scale"])[0])
    assert f"T = {scales[at]:.3g}" in title
    assert f"{-difference[at + 1]:.2g} nats" in title


def test_there_may_be_no_critical_scale_or_no_end(tree):
    tree["flow"].attrs["critical_scale"] = np.nan
    assert "Already the first step" in figures.score_picture(tree).title
    tree["flow"].attrs["critical_scale"] = tree["flow"]["scale"].values[0]  # T = n itself
    assert "Already the first step" in figures.score_picture(tree).title
    tree["flow"].attrs["critical_scale"] = tree["flow"]["scale"].values[-1]
    assert "all the way to T = 1" in figures.score_picture(tree).title


def test_an_impossible_observation_has_no_cost_in_the_title(tree):
    at = int(np.flatnonzero(tree["flow"]["scale"].values == tree["flow"].attrs["critical_scale"])[0])
    tree["flow"]["score_difference"].values[at + 1 :] = -np.inf
    tree["flow"]["score_difference_se"].values[at + 1 :] = np.nan
    title = figures.score_picture(tree).title
    assert title.endswith("the next scale fails")


def test_without_held_out_scores_there_is_no_score_picture(tree):
    tree["flow"]["score_difference"].values[:] = np.nan
    assert figures.score_picture(tree) is None


def test_theories_narrow_and_get_heavier_or_the_contrary(tree):
    title = figures.theories_picture(tree).title
    assert "narrows" in title
    assert "raises its mass²" in title
    turned = tree["field_theory"].to_dataset().isel(state=[1, 0])
    tree["field_theory"] = xr.DataTree(turned.assign_coords(state=["prior", "posterior"]))
    title = figures.theories_picture(tree).title
    assert "widens" in title
    assert "lowers its mass²" in title


def test_a_mass_that_changes_within_its_error_is_not_said_to_change(tree):
    tree["field_theory"]["mass_squared"].values[:] = [1.0, 1.04]
    tree["field_theory"]["mass_squared_se"].values[:] = [0.03, 0.03]
    assert "leaves its mass² at 1 year⁻² within errors" in figures.theories_picture(tree).title
    tree["field_theory"]["mass_squared_se"].values[:] = [0.003, 0.003]
    assert "raises" in figures.theories_picture(tree).title


def test_theories_leave_out_what_is_missing(tree):
    theory = tree["field_theory"].to_dataset()
    small = theory.drop_vars(["power", "power_se", "mass_squared", "mass_squared_se", "four_point_se"])
    tree["field_theory"] = xr.DataTree(small)
    picture = figures.theories_picture(tree)
    assert len(picture.figure.subfigs[0].axes) == 2
    assert "mass" not in picture.title + picture.alt
    tree["field_theory"] = xr.DataTree(small[["two_point"]])
    picture = figures.theories_picture(tree)
    assert len(picture.figure.axes) == 1
    tree["field_theory"] = xr.DataTree(small.drop_vars("two_point"))
    assert figures.theories_picture(tree) is None


@pytest.mark.parametrize(("p_value", "words"), [(0.4, "could have"), (0.003, "would hardly")])
def test_the_data_are_what_the_prior_expects_or_not(tree, p_value, words):
    assert "p = 0.23" in figures.data_spectrum_picture(tree).title  # the check's
    without = tree.copy()
    del without["checks"]
    plain = figures.data_spectrum_picture(without)
    spectrum = tree["data_spectrum"]
    inside = np.sum(
        (spectrum["power"].values >= spectrum["low"].values)
        & (spectrum["power"].values <= spectrum["high"].values)
    )
    assert plain.title.startswith(f"{inside} of 60 bins")
    spectrum.attrs["p_value"] = p_value
    title = figures.data_spectrum_picture(tree).title
    assert words in title
    assert f"p = {p_value}" in title


def test_evidence_is_greatest_inside_or_still_rises(tree):
    assert "greatest at mass 1 " in figures.evidence_picture(tree).title
    tree["tuning"]["log_evidence"].values[:] = np.arange(25.0)
    tree["tuning"].attrs["mass"] = 10.0
    assert "still rises towards mass 10 " in figures.evidence_picture(tree).title
    tree["tuning"].attrs["mass"] = 9.0  # found between the last two
    assert "greatest at mass 9 " in figures.evidence_picture(tree).title


def test_trust_names_the_range_of_momentum_and_its_gaps(tree):
    trust = tree["trust"]
    p, flags = trust["momentum"].values, trust["trusted"].values
    title = figures.trust_picture(tree).title
    assert title.startswith(f"{flags.sum()} of {p.size} modes are to be trusted")
    assert f"from |p| = {p[flags == 1].min():.3g} to {p[flags == 1].max():.3g} rad/year" in title
    assert "gaps" not in title
    flags[np.flatnonzero(flags)[8]] = 0
    assert "with gaps" in figures.trust_picture(tree).title
    flags[:] = 0
    assert figures.trust_picture(tree).title.startswith("None of")


def test_a_mode_is_drawn_by_the_reason_why_it_is_not_trusted(tree):
    trust = tree["trust"]
    trust["trusted"].values[:] = 0
    trust["aliased"].values[-2:] = 1
    kinds = figures.trust_picture(tree).numbers["drawn as"].to_numpy()
    assert set(kinds[-2:]) == {"aliased"}
    assert set(kinds[:3]) == {"trend"}
    assert set(kinds[3:10]) == {"edges"}  # seen, no trend, not aliased: nothing else is left
    assert set(kinds[50:60]) == {"not distinguishable"}


def test_trust_without_momenta_is_drawn_by_rank(tree):
    tree["trust"]["momentum"].values[:] = np.nan
    picture = figures.trust_picture(tree)
    assert "rank" in picture.figure.axes[0].get_xlabel()
    assert "|p|" not in picture.title
    tree["trust"] = xr.DataTree(tree["trust"].to_dataset().drop_vars("signal"))
    again = figures.trust_picture(tree)  # Tλ from the metric
    np.testing.assert_allclose(
        again.numbers["signal-to-noise"], picture.numbers["signal-to-noise"], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("r_hat", 1.3, "1 of 7 quantities have not converged: R-hat up to 1.300"),
        ("ess_tail", 120.0, "1 of 7 quantities rest on no more than 400 effective draws"),
        ("r_hat", np.nan, "All 7 quantities have converged"),
    ],
)
def test_draws_have_converged_or_not(tree, name, value, words):
    assert figures.convergence_picture(tree).title.startswith("All 7 quantities have converged")
    tree["diagnostics"][name].values[2] = value
    assert words in figures.convergence_picture(tree).title


def test_the_worst_quantity_is_the_first_rank_plot(tree):
    tree["diagnostics"]["r_hat"].values[5] = 1.2
    ax = figures.convergence_picture(tree).figure.subfigs[0].axes[0]
    assert ax.get_title(loc="left") == str(tree["diagnostics"]["quantity"].values[5])


def test_convergence_without_ranks_has_no_rank_plots(tree):
    tree["diagnostics"] = xr.DataTree(tree["diagnostics"].to_dataset().drop_vars("rank_count"))
    picture = figures.convergence_picture(tree)
    assert len(picture.figure.axes) == 2
    assert "rank" not in picture.caption.split("R-hat")[0].replace("rank-normalised", "")


def test_many_chains_and_quantities_stay_legible(tree):
    table = tree["diagnostics"].to_dataset()
    copies = [table.assign_coords(quantity=[f"{q} {k}" for q in table["quantity"].values]) for k in range(5)]
    many = xr.concat(copies, "quantity")
    six = many["rank_count"].isel(chain=[0, 1, 2, 3, 0, 1])
    tree["diagnostics"] = xr.DataTree(many.drop_vars("rank_count").assign(rank_count=six))
    picture = figures.convergence_picture(tree)
    assert "16 of 35 quantities are drawn" in picture.caption
    assert len(picture.figure.subfigs[1].axes[0].get_yticks()) == 16
