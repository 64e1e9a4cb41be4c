"""What is said in the terminal: 80 columns, no markup from users, no bar where nobody looks."""

import importlib.util
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from brg_prob.summary import check_rows, summarise
from brg_prob.terminal import Stages, print_result

_SPEC = importlib.util.spec_from_file_location("example_tree", Path(__file__).parent / "example_tree.py")
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)


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
    assert "consistent: At all 12 scales" in " ".join(said.split())
    assert "report: /runs/a b/report.html" in said
    assert "rejected, as it must be" in said


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
