"""What is said in the terminal: 80 columns, no markup from users, no bar where nobody looks."""

import importlib.util
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from brg_prob.cli.terminal.comparison_tables import print_comparison
from brg_prob.cli.terminal.progress import Stages
from brg_prob.cli.terminal.run import print_result
from brg_prob.cli.terminal.sloppiness_tables import sloppiness_blocks
from brg_prob.comparison import compare, headline
from brg_prob.geometry.contraction import contraction
from brg_prob.geometry.sloppiness import direction_table
from brg_prob.summary import check_rows, summarise


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load(Path(__file__).parents[1] / "example_tree.py")
free_run = load(Path(__file__).parents[1] / "comparison" / "free_runs.py").free_run


def console(width=80, terminal=False):
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, highlight=False, color_system=None
    )


@pytest.fixture(scope="module")
def said():
    tree = example.example_tree()
    out = console()
    print_result(SimpleNamespace(tree=tree, summary=summarise(tree)), Path("/runs/a b"), out)
    return out.file.getvalue()


def test_result_fits_eighty_columns(said):
    assert max(map(len, said.splitlines())) <= 80


def test_result_names_every_scale_every_check_the_verdict_and_the_report(said):
    tree = example.example_tree()
    for value in tree["flow"]["observations"].values:
        assert f"{value:.3g}" in said
    for row in check_rows(tree):
        assert row["name"] in said
    assert "Flow against theory: agrees. At all 12 scales" in " ".join(said.split())
    assert "report: /runs/a b/report.html" in said
    assert "rejected, as it must be" in said


def test_a_column_that_no_scale_has_is_left_out(said):
    tree = example.example_tree()
    flow = tree["flow"].to_dataset()
    tree["flow"] = type(tree)(flow.drop_vars("kl_to_prior"))
    out = console()
    print_result(SimpleNamespace(tree=tree, summary=summarise(example.example_tree())), Path("/run"), out)
    heads = [
        next(line for line in text.splitlines() if "d_eff" in line) for text in (said, out.file.getvalue())
    ]
    assert "KL" in heads[0] and "KL" not in heads[1]
    assert all(name in head for name in ("T", "Λ′", "score") for head in heads)


def test_a_check_that_is_not_as_it_should_be_says_why_and_what_helps(said):
    tree = example.example_tree()
    table = tree["checks"].to_dataset()
    verdict, detail = (table[name].values.astype(object).copy() for name in ("verdict", "detail"))
    at = {str(name): number for number, name in enumerate(table["name"].values)}
    changed = at["propagator"], at["wrong mass"]
    for number, text in zip(changed, ("undetermined", "consistent"), strict=True):
        verdict[number], detail[number] = text, f"the reason of {number}"
    tree["checks"] = type(tree)(table.assign(verdict=("check", verdict), detail=("check", detail)))
    out = console()
    print_result(SimpleNamespace(tree=tree, summary=summarise(tree)), Path("/run"), out)
    found = " ".join(out.file.getvalue().split())
    tested, control = (f"(diffusion): the reason of {number}" for number in changed)
    assert f"· propagator {tested}; more draws (--draws) would tell · wrong mass {control} " in found
    assert "(diffusion): " not in said  # as all should be


def test_no_text_of_a_user_is_read_as_markup():
    tree = example.example_tree()
    table = tree["checks"].to_dataset()
    names = table["name"].values.astype(object).copy()
    names[0] = "[red]prop[/nonsense]"
    tree["checks"] = type(tree)(table.assign(name=("check", names)))
    out = console(120)
    print_result(SimpleNamespace(tree=tree, summary=summarise(tree)), Path("[bold]"), out)
    assert "[red]prop[/nonsense]" in out.file.getvalue()
    assert "[bold]/report.html" in out.file.getvalue()


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_progress_is_drawn_only_where_somebody_looks(terminal, quiet, shown):
    out = console(terminal=terminal)
    with Stages(quiet=quiet, console=out) as progress:
        progress.expect(1)
        with progress("posterior [x]"):
            progress._bar.refresh()
    assert ("posterior [x]" in out.file.getvalue()) is shown
    assert bool(out.file.getvalue()) is shown


# --- what the data determine ---------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_known_before_the_first_stage_is_printed_then_and_is_no_markup(quiet, capsys):
    with Stages(quiet=quiet) as progress:
        progress.say(["[bold] has 3 levels", "nothing held out"])
        said = capsys.readouterr().out
        with progress("posterior"):
            pass
        progress.say([])
    assert said == ("" if quiet else "· [bold] has 3 levels\n· nothing held out\n\n")
    assert capsys.readouterr().out == ""


def sloppy_tree(labels, conflicting, loo=True):
    """Groups directions and parameters of random directions; a flow with leave-one-out scores."""
    rng = np.random.default_rng(0)
    size = len(labels)
    values = np.geomspace(1, 1e-6, size)
    values[-1] = 0
    rows = np.linalg.qr(np.eye(size) + 0.1 * rng.standard_normal((size, size)))[0]
    metric = SimpleNamespace(eigenvalues=values, directions=rows, labels=labels, observations=100)
    draws = np.where(np.arange(size) < conflicting, 9.0, 0.0) + 0.1 * rng.standard_normal((1, 400, size))
    table = xr.Dataset(
        {name: ("parameter", value) for name, value in contraction(draws, independent=True).items()},
        coords={"parameter": list(labels)},
        attrs={"status": "as it is"},
    )
    tree = xr.DataTree.from_dict(
        {"directions": direction_table(metric, observations=100), "parameters": table}
    )
    if loo:
        scores = {"loo": [-39.0, -88.0], "loo_se": [4.0, 6.0], "loo_difference": [0.0, -49.0]}
        scores |= {
            "loo_difference_se": [0.0, 6.0],
            "pareto_k_max": [0.91, np.nan],
            "pareto_k_bad": [2.0, 0.0],
        }
        flow = xr.Dataset({name: ("scale", value) for name, value in scores.items()})
        tree["tempering/flow"] = xr.DataTree(flow.assign_coords(scale=[100.0, 0.5]))
    return tree


def test_leave_one_out_in_closed_form_has_no_weights_and_says_so():
    tree = sloppy_tree(["a", "b"], 0)
    weighted = blocks(tree)
    assert "leave-one-out" in weighted and "worst k" in weighted and "closed form" not in weighted
    flow = tree["tempering/flow"].to_dataset().drop_vars(["pareto_k_max", "pareto_k_bad"])
    tree["tempering/flow"] = xr.DataTree(flow)
    closed = blocks(tree)
    assert "leave-one-out in closed form" in closed and "worst k" not in closed
    assert "-88.0 ± 6.0" in closed


def blocks(tree, width=80):
    out = console(width)
    for block in sloppiness_blocks(tree):
        out.print(block)
    return out.file.getvalue()


def test_directions_and_parameters_fit_eighty_columns_and_say_what_they_leave_out():
    labels = tuple(f"county_effect[{i}]" for i in range(40))
    said = blocks(sloppy_tree(labels, conflicting=2))
    assert max(map(len, said.splitlines())) <= 80
    starts = [line.split()[0] for line in said.splitlines() if line.strip()]
    assert all(starts.count(rank) == 1 for rank in ("1", "5", "38", "40"))
    assert "6" not in starts
    assert sum(line.startswith("county_effect") for line in said.splitlines()) == 12
    assert said.count("conflict") == 2
    assert "as it is; 28 parameters not shown" in said
    assert "not determined" in said
    assert "-88.0 ± 6.0" in said
    assert "0.91" in said


def test_every_parameter_is_shown_where_there_are_few_and_names_are_no_markup():
    said = blocks(sloppy_tree(("[red]x[/y]", "b"), conflicting=0, loo=False))
    assert said.count("[red]x[/y]") >= 2
    assert "conflict" not in said
    assert "not shown" not in said
    assert "leave-one-out" not in said


def test_a_linear_readout_has_no_such_tables():
    assert sloppiness_blocks(example.example_tree()) == []


# --- comparisons ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs():
    names = ("demo", "a longer name than fits a column", "nuts", "points", "units", "[red]x[/y]")
    options = ({}, {"mass": 1.3}, {"engine": "nuts"}, {"points": 36}, {"units": ("K", "m")}, {"data_seed": 3})
    made = (free_run(seed=at, draws=300, **given) for at, given in enumerate(options))
    return dict(zip(names, made, strict=True))


def compared(runs, width=80):
    found, out = compare(runs), console(width)
    print_comparison(found, Path("/runs/a b/comparison.html"), out)
    return found, out.file.getvalue()


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_comparisons_fit_eighty_columns(runs, count):
    found, said = compared(dict(list(runs.items())[:count]))
    assert max(map(len, said.splitlines())) <= 80
    flat = " ".join(said.split())
    assert headline(found) in flat
    assert "page: /runs/a b/comparison.html" in said
    for note in found.notes:
        assert note in flat
    for row in found.rows:  # nothing is cut: every number of a theory stands in its row
        assert f"{row['effective_dimension']:.3g}" in said
    assert "…" not in said


def test_one_run_is_a_row_for_its_posterior_and_one_for_its_prior(runs):
    _, said = compared({"demo": runs["demo"]})
    starts = [line.split()[0] for line in said.splitlines() if line.strip()]
    assert starts.count("posterior") == 2  # its numbers, and its difference from the prior
    assert starts.count("prior") == 1


def test_names_in_a_comparison_are_no_markup(runs):
    _, said = compared({"demo": runs["demo"], "[red]x[/y]": runs["[red]x[/y]"]})
    assert "[red]x[/y]" in said


def test_a_comparison_of_nothing_with_an_error_says_so(runs):
    """Runs whose single common numbers have no error: the negative of every sentence above."""
    tree = runs["demo"].tree.copy()
    theory = tree["field_theory"].to_dataset()
    errors = {name: theory[name] * 0 for name in theory.data_vars if str(name).endswith("_se")}
    tree["field_theory"] = type(tree)(theory.assign(errors))
    found, said = compared({"bare": SimpleNamespace(tree=tree, summary=runs["demo"].summary, model={})})
    assert found.largest is None
    assert "no number with an error could be compared" in " ".join(said.split())
