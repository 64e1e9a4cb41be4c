"""A table and a model with arguments of its own become a problem, a run, and the same run again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brg_prob.cli import loading, main
from brg_prob.cli.request import parse_run

MODEL = """
import numpyro
import numpyro.distributions as dist


def penguins(flipper, species_idx, body_mass=None, *, kinds, spread=2.0):
    b = numpyro.sample("b", dist.Normal(0, spread))
    with numpyro.plate("species", kinds):
        a = numpyro.sample("a", dist.Normal(0, spread))
    with numpyro.plate("rows", flipper.shape[0]):
        numpyro.sample("y", dist.Normal(a[species_idx] + b * flipper, 0.5), obs=body_mass)
"""
LINE = """

def line(x, y=None):
    b = numpyro.sample("b", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(b * x[:, 0], 1), obs=y)
"""
SPECIES = ("adelie", "chinstrap", "gentoo")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model and its table; in the table a column of text that nobody uses, and gaps."""
    rng = np.random.default_rng(0)
    rows = [
        f"{rng.normal():.3f},{('', 'lame')[i == 3]},{SPECIES[i % 3]},{rng.normal():.3f}" for i in range(30)
    ]
    (tmp_path / "birds.csv").write_text("flipper [dm],remark,species,body_mass\n" + "\n".join(rows) + "\n")
    (tmp_path / "net.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def posed(*words):
    """Return the problem that a command line poses."""
    with loading._precision(False):
        request = parse_run([*words, "--out", "new"])
        return loading._loaded(request, loading._table(request))[0]


def refused(capsys, *words):
    """Return the one line by which a command line is refused."""
    assert main(["run", *words, "--out", "new"]) == 2
    assert not Path("new").exists()
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_columns_reach_the_arguments_and_the_record_says_which(folder):
    found = posed("net.py", "--data", "birds.csv", "--model.kinds", "3", "--held-out", "alternate")
    assert found.x.shape == (15, 2)
    assert found.network.network.call.bound == (
        ("flipper", "flipper", "float"),
        ("species_idx", "species", "int"),
    )
    assert found.network.network.options == {"kinds": 3}
    record = found.record
    assert (record.inputs, record.targets, record.units) == (
        ("flipper", "species"),
        ("body_mass",),
        {"flipper": "dm"},
    )
    assert record.levels == {"species": SPECIES}
    assert "the argument species_idx gets the codes of the column species" in record.notes
    assert "not used, for no argument of penguins takes them: remark" in record.notes
    table = np.genfromtxt("birds.csv", delimiter=",", skip_header=1, dtype=None, encoding="utf-8")
    rows = [(a, SPECIES.index(c), d) for a, _, c, d in table]
    np.testing.assert_allclose(np.column_stack([found.x, found.y]), rows[::2])
    np.testing.assert_allclose(np.column_stack(found.held_out), rows[1::2])


def test_a_model_of_its_target_alone_has_the_row_numbers_as_inputs(folder):
    Path("alone.py").write_text(LINE.replace("x, y=None", "y").replace("b * x[:, 0]", "b") + MODEL)
    found = posed("alone.py:line", "--data", "birds.csv", "--target", "body_mass")
    assert found.record.inputs == ("row",)
    np.testing.assert_array_equal(found.x[:, 0], np.arange(30))
    table = np.array([line.split(",")[-1] for line in Path("birds.csv").read_text().split()[2:]], float)
    np.testing.assert_array_equal(found.y, table)


def test_a_gap_in_the_target_stays_and_is_not_scored(folder):
    lines = Path("birds.csv").read_text().splitlines()
    for at in (1, 2, 3, 9):
        lines[at] = lines[at].rpartition(",")[0] + ","
    lines[20] = "," + lines[20].partition(",")[2]
    Path("birds.csv").write_text("\n".join(lines) + "\n")
    words = ["net.py", "--data", "birds.csv", "--model.kinds", "3", "--held-out", "alternate"]
    with pytest.raises(ValueError, match=r"5 of 30 rows .* .first in 'flipper'.: pass --drop-missing"):
        posed(*words)
    found = posed(*words, "--drop-missing")
    assert found.record.dropped == 1
    assert len(found.y) == 15
    assert 0 < np.isnan(found.y).sum() <= 4
    assert np.isfinite(found.held_out[1]).all()
    assert np.isnan(found.y).sum() + 14 - len(found.held_out[1]) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.kind", "3"], "option '--model.kind' is unknown"),
        ([], "'penguins' needs 'kinds', which is no column of 'birds.csv'"),
        (
            ["--model.kinds", "3", "--target", "mass"],
            "has no column 'mass' for the target; did you mean 'body_mass'?",
        ),
        (["--model.kinds", "3", "--inputs", "remark"], "input 'remark': 'penguins' has no argument for it"),
        (
            ["--model.kinds", "3", "--data", "teacher"],
            "'penguins' needs 'species_idx'; give a table with such",
        ),
    ],
)
def test_what_the_source_and_the_table_show_is_refused_before_jax_is_loaded(folder, words, said):
    code = (
        "import sys\nfrom brg_prob.cli import main\n"
        f"assert main(['run', 'net.py', '--data', 'birds.csv', '--out', 'new', *{words!r}]) == 2\n"
        "heavy = {'jax', 'numpyro', 'arviz'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_function_that_the_text_does_not_tell_is_bound_once_it_is_loaded(folder, capsys):
    Path("net.py").write_text(MODEL + "\nfrom functools import partial\nmodel = partial(penguins, kinds=3)\n")
    found = posed("net.py:model", "--data", "birds.csv", "--model.spread", "3")
    assert found.network.network.options == {"spread": 3}
    assert found.record.levels == {"species": SPECIES}
    words = ["net.py:model", "--data", "birds.csv", "--model.spred", "3"]
    assert "did you mean 'spread'?" in refused(capsys, *words)
    # a module of this test's own: another test's net.py may have been loaded before
    (folder / "aviary_of_this_test.py").write_text(MODEL)
    (folder / "other.py").write_text("from aviary_of_this_test import penguins as model\n")
    assert "'model' needs 'kinds'" in refused(capsys, "other.py", "--data", "birds.csv")
    Path("net.py").write_text(
        MODEL + "\nfrom numpyro import handlers\nmodel = handlers.block(penguins, hide=[])\n"
    )
    assert posed("net.py:model", "--data", "birds.csv", "--model.kinds", "3").network.network.options == {
        "kinds": 3
    }


def test_a_column_that_cannot_be_read_matters_only_where_it_is_used(folder, capsys):
    Path("net.py").write_text(MODEL + LINE)
    lines = Path("birds.csv").read_text().splitlines()
    kept = [f"{line},{note}" for line, note in zip(lines, ["note", *("ab1c2" * 6)], strict=True)]
    Path("birds.csv").write_text("\n".join(kept) + "\n")
    words = ["net.py:line", "--data", "birds.csv", "--target", "body_mass"]
    assert "'note' of 'birds.csv'" in refused(capsys, *words, "--inputs", "note")
    assert posed(*words, "--inputs", "flipper").x.shape == (30, 1)
    assert "'species' of 'birds.csv' holds categories" in refused(
        capsys, *words, "--inputs", "flipper,species"
    )


def test_the_draw_of_a_prior_takes_options_and_needs_inputs(folder, capsys):
    Path("net.py").write_text(
        "import numpyro, numpyro.distributions as dist\n\n\n"
        "def model(x, y=None, box=4.0, depth=1):\n"
        "    b = numpyro.sample('b', dist.Normal(0, depth).expand([depth]).to_event(1))\n"
        "    numpyro.sample('y', dist.Normal(b.sum() * x[:, 0], 1), obs=y)\n\n\n"
        "def none(y=None):\n"
        "    numpyro.sample('y', dist.Normal(numpyro.sample('b', dist.Normal(0, 1)), 1), obs=y)\n"
    )
    found = posed("net.py", "--points", "7", "--model.depth", "3")
    assert found.network.network.options == {"depth": 3}  # a box of its own is no lattice to be set
    assert found.x.shape == (7, 1)
    assert posed("net.py", "--points", "7").network.network.__name__ == "model"
    assert "'none' takes no inputs" in refused(capsys, "net.py:none")


def test_a_model_without_inputs_or_with_sizes_is_posed_at_all_its_rows(folder):
    Path("net.py").write_text(
        "import numpyro, numpyro.distributions as dist\n\n\n"
        "def none(y=None):\n"
        "    a = numpyro.sample('a', dist.Normal(0, 1))\n"
        "    with numpyro.plate('rows', 8):\n        numpyro.sample('y', dist.Normal(a, 1), obs=y)\n\n\n"
        "def schools(J, sigma, y=None):\n"
        "    with numpyro.plate('schools', J):\n"
        "        a = numpyro.sample('a', dist.Normal(0, 1))\n"
        "        numpyro.sample('y', dist.Normal(a, sigma), obs=y)\n"
    )
    y = [28, 8, -3, 7, -1, 1, 18, 12]
    Path("y.csv").write_text("y\n" + "\n".join(map(str, y)) + "\n")
    found = posed("net.py:none", "--data", "y.csv")
    assert (found.record.inputs, found.y.tolist()) == (("row",), y)
    np.testing.assert_array_equal(found.x, np.arange(8.0)[:, None])
    Path("s.csv").write_text("sigma,y\n" + "".join(f"{10 + i},{value}\n" for i, value in enumerate(y)))
    found = posed("net.py:schools", "--data", "s.csv", "--model.J", "8")
    assert found.record.inputs == ("sigma",)
    np.testing.assert_array_equal(found.x[:, 0], 10 + np.arange(8))
    with pytest.raises(ValueError, match="8"):  # the control: another size
        posed("net.py:schools", "--data", "s.csv", "--model.J", "7")


def test_a_run_keeps_its_options_and_is_run_again(folder, capsys, monkeypatch):
    # drawing the figures takes longer than all the rest
    monkeypatch.setattr("brg_prob.pipeline.run_result.render_report", lambda run: "a report")
    words = ["net.py", "--data", "birds.csv", "--model.kinds", "3", "--held-out", "none"]
    words += ["--engine", "laplace", "--scales", "2", "--draws", "200", "--quiet"]
    assert main(["run", *words, "--out", "new"]) == 0
    model = json.loads(Path("new/model.json").read_text())
    summary = json.loads(Path("new/summary.json").read_text())
    assert "the argument species_idx gets the codes of the column species" in summary["notes"]
    assert model["options"] == summary["model"]["options"] == {"kinds": 3}
    Path("birds.csv").unlink()
    Path("net.py").unlink()
    assert main(["rerun", "new"]) == 0
    assert "digit for digit" in capsys.readouterr().out
    import brg_prob

    attrs = brg_prob.load_run("new").tree["record"].attrs
    assert json.loads(attrs["levels"]) == {"species": list(SPECIES)}
    assert attrs["calendar"] == ""


SERIES = """
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def series(x, y=None):
    phi = numpyro.sample("phi", dist.Normal(0, 1))
    past = jnp.zeros(x.shape[0]) if y is None else jnp.concatenate([jnp.zeros(1), y[:-1]])
    numpyro.sample("y", dist.Normal(phi * past, 1), obs=y)
"""


@pytest.mark.parametrize("how", ["alternate", "random"])
def test_rows_are_not_taken_out_from_within_a_series(folder, how):
    Path("net.py").write_text(SERIES + LINE)
    Path("t.csv").write_text("t,y\n" + "".join(f"{at},{at % 5}\n" for at in range(12)))
    with pytest.raises(ValueError, match=f"--held-out {how}: the likelihood of 'y' at a row depends on"):
        posed("net.py:series", "--data", "t.csv", "--held-out", how)
    assert len(posed("net.py:line", "--data", "t.csv", "--held-out", how).held_out[1]) == 6
    last = posed("net.py:series", "--data", "t.csv", "--held-out", "block")
    assert last.held_out[0].ravel().tolist() == list(range(6, 12))
