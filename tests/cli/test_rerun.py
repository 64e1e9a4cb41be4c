"""A run is repeated from its model.json alone; stages are reused; rows, units and columns are kept."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from brg_prob import pipeline, store
from brg_prob.cli import loading, main
from brg_prob.cli.arguments import read_model_source
from brg_prob.cli.loading import problem
from brg_prob.cli.loading.module import imported, load_module, module_digest
from brg_prob.cli.request import parse_run
from brg_prob.cli.rerun import compared, restored

ROOT = Path(__file__).parents[2]
GONE = {"content": None, "name": "gone.csv", "place": "gone.csv"}
SMALL = ["--scales", "2", "--draws", "200", "--quiet"]

# A network of one's own: a trend and a level that a column switches on. It imports a neighbour.
TREND = """
from dataclasses import dataclass

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from neighbour import SCALE

from brg_prob.network import isotropic_prior


@dataclass(frozen=True)
class Trend:
    noise: float = 0.5
    noise_spread: float = 0.0
    outputs: int = 1

    def sample_hidden(self, key):
        return {}

    def features(self, x, hidden, station=None):
        return SCALE * jnp.stack([jnp.ones(len(x)), x[:, 0], station], axis=1)

    def readout_prior(self, hidden):
        return isotropic_prior(3, variance=1.0)

    def __call__(self, x, y=None, station=None):
        a = numpyro.sample("a", dist.Normal(0, 1).expand([3]).to_event(1))
        f = numpyro.deterministic("f", self.features(x, {}, station) @ a)
        numpyro.sample("y", dist.Normal(f, self.noise).to_event(1), obs=y)
"""


@pytest.fixture(scope="module", autouse=True)
def quick_report():
    """Stand in for the report: drawing a dozen figures takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brg_prob.pipeline.run_result.render_report", lambda run: "a report")
        yield


@pytest.fixture(scope="module")
def table():
    """Return columns in which the station matters."""
    rng = np.random.default_rng(5)
    time, station = np.arange(40.0), (np.arange(40) % 3 == 0).astype(float)
    return {"time": time, "station": station, "level": 0.05 * time + 3 * station + rng.normal(0, 0.5, 40)}


@pytest.fixture(scope="module")
def made(tmp_path_factory, table):
    """Return a folder with a run of one's own network on one's own table, one row of it missing."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "trend.py").write_text(TREND)
    (folder / "neighbour.py").write_text("SCALE = 1.0\n")
    rows = [f"{t},{s:g},{float(v)!r}" for t, s, v in zip(*table.values(), strict=True)]
    rows[7] = rows[7].rsplit(",", 1)[0] + ","
    (folder / "gauge.csv").write_text("\n".join(["time [yr],station,level [m]", *rows]) + "\n")
    words = ["--data", str(folder / "gauge.csv"), "--drop-missing", "--held-out", "block"]
    words += ["--held-out-seed", "3", "--held-out-fraction", "0.25", *SMALL]
    assert main(["run", str(folder / "trend.py"), *words, "--out", str(folder / "run")]) == 0
    return folder


def test_a_column_named_like_an_argument_reaches_it_as_it_stands(made, table):
    run = pipeline.load_run(made / "run")
    inputs = run.tree["constant_data"]["inputs"].values
    assert set(inputs[:, 1]) == {0.0, 1.0}
    assert inputs[:, 0].min() == 0  # the own input starts at its origin
    # the posterior of the readout, by the normal equations on the columns themselves
    y = run.tree["observed_data"]["y"].values
    design = np.column_stack([np.ones(len(y)), inputs])
    ridge = 0.25 * np.eye(3)
    mean = design @ np.linalg.solve(design.T @ design + ridge, design.T @ y)
    found = run.tree["posterior"]["f"].values[0]
    spread = found.std(0, ddof=1) / np.sqrt(len(found))
    assert np.max(np.abs(found.mean(0) - mean) / spread) < 5
    without = design[:, :2]
    blind = without @ np.linalg.solve(without.T @ without + 0.25 * np.eye(2), without.T @ y)
    assert np.max(np.abs(found.mean(0) - blind) / spread) > 5


def test_the_file_and_its_hash_are_those_that_were_run(made):
    model = json.loads((made / "run" / "model.json").read_text())
    assert model["sha256"] == hashlib.sha256((made / "trend.py").read_bytes()).hexdigest()
    assert model["source"] == TREND


def test_units_dropped_rows_and_the_seed_of_the_split_are_kept(made):
    record = pipeline.load_run(made / "run").tree["record"]
    assert record.attrs["input_unit"] == "yr"
    assert record.attrs["value_unit"] == "m"
    assert record.attrs["dropped"] == 1
    assert record.attrs["held_out_seed"] == 3
    assert int((record["training"].values == 0).sum()) == round(0.25 * 39)
    assert record.sizes["row"] == 39


def test_a_run_is_repeated_from_model_json_alone(made, tmp_path, capsys):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(made / "run" / "model.json", alone)
    assert main(["rerun", str(alone), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    one, other = (pipeline.load_run(folder) for folder in (made / "run", tmp_path / "again"))
    assert compared(one.summary, other.summary).same
    np.testing.assert_array_equal(one.tree["posterior"]["f"].values, other.tree["posterior"]["f"].values)
    # the file in the folder may have changed since: what was run is run
    assert other.model["source"] == TREND
    assert other.tree["record"].attrs["source"] == one.tree["record"].attrs["source"]


def test_a_rerun_says_how_many_numbers_are_the_same_and_which_are_not(made, tmp_path, capsys):
    copy = shutil.copytree(made / "run", tmp_path / "run")
    assert main(["rerun", str(copy), "--strict"]) == 0
    assert "digit for digit" in capsys.readouterr().out
    assert (tmp_path / "run-rerun" / store.REPORT).is_file()
    summary = json.loads((copy / "summary.json").read_text())
    summary["flow"]["kl_to_prior"][1] *= 1 + 1e-9
    (copy / "summary.json").write_text(json.dumps(summary))
    assert main(["rerun", str(copy), "--strict"]) == 1
    assert "the worst differs by 1.0e-09 relative, at flow.kl_to_prior[1]" in capsys.readouterr().out


def test_only_what_the_options_change_is_computed_again(made, tmp_path, capsys):
    words = json.loads((made / "run" / "model.json").read_text())["request"]["words"]
    folder = shutil.copytree(made / "run", tmp_path / "run")
    words = [word for word in words if word != "--quiet"]
    words[words.index("--out") + 1] = str(folder)
    before = json.loads((folder / "summary.json").read_text())
    assert main(["run", *words]) == 0
    assert "not computed again: posterior, diffusion, shell, record" in capsys.readouterr().out
    assert json.loads((folder / "summary.json").read_text()) == before
    assert main(["run", *words, "--scheme", "shell"]) == 0
    assert capsys.readouterr().out.endswith("not computed again: posterior\n")
    assert main(["run", *words, "--scheme", "shell", "--fresh"]) == 0
    assert "not computed again" not in capsys.readouterr().out


def test_a_neighbour_a_network_or_an_option_that_changed_makes_another_digest(made, tmp_path, monkeypatch):
    own = shutil.copytree(made, tmp_path / "own")
    monkeypatch.syspath_prepend(own)

    def digest(**options):
        sys.modules.pop("neighbour", None)
        source = read_model_source(str(own / "trend.py"))
        content = source.path.read_bytes()
        load_module(source.path, content)
        return module_digest(content, source.name, options, {})

    first = digest()
    assert digest() == first
    assert digest(noise=0.1) != first
    (own / "trend.py").write_text(TREND.replace("variance=1.0", "variance=1.5"))
    assert digest() != first
    (own / "trend.py").write_text(TREND)
    assert digest() == first
    (own / "neighbour.py").write_text("SCALE = 2.0\n")
    assert digest() != first
    sys.modules.pop("neighbour", None)


def test_the_text_of_a_file_is_what_runs_whatever_bytecode_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "own.py"
    for value in (1, 2):
        path.write_text(f"VALUE = {value}\nkind: int = 0\n")
        os.utime(path, (1e9, 1e9))  # the same size and date: to Python's cache the same file
        module = load_module(path)
        assert value == module.VALUE
        assert module.__annotations__ == {"kind": int}  # compiled as it stands, not with our own imports
        assert sys.dont_write_bytecode is False
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.py"]


def test_a_neighbour_below_pythons_prefix_counts_and_an_installed_package_does_not(tmp_path, monkeypatch):
    (tmp_path / "own_neighbour.py").write_text("SCALE = 1.0\n")
    path = tmp_path / "own.py"
    path.write_text("import numpy, json, own_neighbour\n")
    load_module(path)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))  # as /usr is that of /usr/src
    found = imported()
    assert "own_neighbour" in found
    assert not {"numpy", "json", "brg_prob"} & set(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model["request"].clear(), "was not made by brg-prob run"),
        (
            lambda model: model["request"]["data"].update(content=None, name="gone.csv", place="gone.csv"),
            "bring it back",
        ),
        (lambda model: model["request"]["words"].append("--drws"), "'--drws' is unknown"),
        (lambda model: model.pop("file"), "model.json' is damaged (KeyError: 'file')"),
        (lambda model: model.update(file="a\0.py"), "is damaged"),
        (lambda model: model.update(source=model["source"].replace("0.5", "0.4")), "SHA-256"),
        (lambda model: model.update(source="\ufffd"), "save it as UTF-8"),
        (lambda model: model.update(source=["text"]), "is damaged"),
        (lambda model: model.update(request=[1]), "is damaged"),
        (lambda model: model["request"].update(words="run"), "is damaged"),
        (lambda model: model["request"].update(folder=5), "is damaged"),
        (lambda model: model["request"]["data"].pop("sha256"), "is damaged"),
        (lambda model: model["request"]["data"].update(content=[1]), "is damaged"),
        (lambda model: model["request"]["data"].update(content="eJwr"), "not its SHA-256"),
        (lambda model: model["request"]["data"].update(content="é"), "not its SHA-256"),
        (lambda model: model["request"]["data"].update(sha256="0" * 64), "not its SHA-256"),
    ],
)
def test_what_cannot_be_repeated_is_refused_in_one_line(made, tmp_path, capsys, change, said):
    alone = tmp_path / "alone"
    alone.mkdir()
    model = json.loads((made / "run" / "model.json").read_text())
    change(model)
    (alone / "model.json").write_text(json.dumps(model))
    assert main(["rerun", str(alone)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["alone"]


def test_a_rerun_goes_beside_its_run_and_never_over_it(made, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(made / "run", tmp_path / "run")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for out in (".", "../link", "../run/"):
        assert main(["rerun", ".", "--out", out]) == 2
        assert "is the run itself" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr("brg_prob.cli.commands._executed", lambda request: asked.append(request.out) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["rerun", "."])
    assert asked == [tmp_path / "run-rerun"]


def test_a_large_table_must_be_the_same(made, tmp_path, capsys, monkeypatch):
    alone = tmp_path / "alone"
    alone.mkdir()
    model = json.loads((made / "run" / "model.json").read_text())
    model["request"]["data"].update(content=None)
    (alone / "model.json").write_text(json.dumps(model))
    name = Path(model["request"]["data"]["name"])
    content = name.read_text()
    try:
        name.write_text(content + "99,0,1\n")
        assert main(["rerun", str(alone)]) == 2
        assert "is not this run's" in capsys.readouterr().err
    finally:
        name.write_text(content)
    assert main(["rerun", str(alone), "--quiet"]) == 0


def test_a_required_argument_that_is_no_column_is_named(made, tmp_path, capsys):
    (tmp_path / "trend.py").write_text(TREND.replace("y=None, station=None", "y=None, *, depth"))
    shutil.copy(made / "neighbour.py", tmp_path)
    assert main(["run", str(tmp_path / "trend.py"), "--data", str(made / "gauge.csv"), "--drop-missing"]) == 2
    assert "'Trend' needs 'depth', which is no column" in capsys.readouterr().err
    own = tmp_path / "required.py"
    own.write_text(TREND.replace("station=None", "station").replace("y=None, station", "y=None, *, station"))
    words = ["--data", str(made / "gauge.csv"), "--target", "station", "--drop-missing"]
    assert main(["run", str(own), *words]) == 2
    assert "column 'station' is an argument of 'Trend'; leave it out" in capsys.readouterr().err


def test_what_a_network_reads_from_elsewhere_makes_another_digest(tmp_path):
    text = TREND.replace(
        "from neighbour import SCALE",
        "from pathlib import Path\nSCALE = float(Path(__file__).with_name('scale.txt').read_text())",
    )
    text = text.replace("station=None", "station=0.0").replace("0], station]", "0], 0 * x[:, 0]]")
    (tmp_path / "trend.py").write_text(text)

    def digest(scale):
        (tmp_path / "scale.txt").write_text(scale)
        with loading._precision(False):
            words = [str(tmp_path / "trend.py"), "--points", "20"]
            return loading._loaded(parse_run(words), None)[1].digest

    assert digest("1.0") == digest("1.0")
    assert digest("1.0") != digest("2.0")


def test_neighbours_come_back_wherever_the_run_is_repeated(made, tmp_path, monkeypatch):
    alone, foreign = tmp_path / "alone", tmp_path / "foreign"
    alone.mkdir()
    foreign.mkdir()
    shutil.copy(made / "run" / "model.json", alone)
    assert json.loads((alone / "model.json").read_text())["request"]["modules"] == {
        "neighbour.py": "SCALE = 1.0\n"
    }
    (foreign / "neighbour.py").write_text("raise SystemExit('a stranger was run')")
    monkeypatch.chdir(foreign)
    monkeypatch.syspath_prepend(foreign)
    before = dict(sys.modules)
    with restored(alone, tmp_path / "again") as (request, _):
        module = load_module(request.source.path)
        assert module.SCALE == 1.0
        assert Path(sys.modules["neighbour"].__file__).parent == request.source.path.parent.resolve()
    assert sys.modules.get("neighbour") is before.get("neighbour")


def test_a_missing_value_in_an_optional_argument_is_refused_or_dropped_never_passed_over(
    made, tmp_path, capsys
):
    lines = [line for line in (made / "gauge.csv").read_text().splitlines() if not line.endswith(",")]
    day, station, level = lines[3].split(",")
    assert station == "0"
    lines[3] = f"{day},,{level}"
    (tmp_path / "gauge.csv").write_text("\n".join(lines) + "\n")
    words = [str(made / "trend.py"), "--data", str(tmp_path / "gauge.csv"), "--inputs", "time"]
    words += ["--target", "level", "--held-out", "none"]

    def loaded(*more):
        return problem_of_words([*words, *more])

    with pytest.raises(ValueError, match=r"1 of 39 rows .* .first in .station"):
        loaded()
    dropped = loaded("--drop-missing")
    assert dropped.x.shape == (38, 2)
    assert dropped.record.dropped == 1


def problem_of_words(words):
    """Return the problem that a command line poses."""
    with loading._precision(False):
        request = parse_run(words)
        return loading._loaded(request, loading._table(request))[0]


def test_single_precision_is_single_whatever_was_set_before(made):
    assert jax.config.jax_enable_x64
    with loading._precision(True):
        assert jax.numpy.ones(1).dtype == "float32"
    assert jax.numpy.ones(1).dtype == "float64"


def test_runs_of_one_seed_of_the_split_hold_out_the_same_rows():
    x = np.random.default_rng(0).uniform(size=(30, 1))

    def held(seed, split_seed=None):
        words = [str(ROOT / "models" / "cosnet.py"), "--held-out", "random", "--seed", str(seed)]
        words += [] if split_seed is None else ["--held-out-seed", str(split_seed)]
        rows, out, _ = problem.split(parse_run(words).arguments, x, readout=True)
        assert sorted([*rows, *out]) == list(range(30))
        return sorted(out)

    assert held(0, 7) == held(1, 7)
    assert held(0, 7) != held(0, 8)
    assert held(5) == held(0, 5) != held(6)
