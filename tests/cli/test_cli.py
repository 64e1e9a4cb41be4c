"""The command line: each mistake is one line on stderr, exit 2, and nothing is written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brg_prob import options
from brg_prob.cli import arguments, main
from brg_prob.cli.request import parse_run

ROOT = Path(__file__).parents[2]
COSNET = str(ROOT / "models" / "cosnet.py")
SMALL = ["--points", "63", "--scales", "3", "--draws", "500"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working directory with somebody's work in it."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_that_cannot_be_written_is_refused(folder, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda *a, **k: False)  # root may write anywhere
    assert main(["run", COSNET, "--out", "new/run"]) == 2
    assert "cannot write in" in capsys.readouterr().err


def test_an_interrupted_run_writes_nothing(folder, capsys, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("brg_prob.cli.loading.execute", interrupted)
    assert main(["run", COSNET, "--out", "new"]) == 130
    assert capsys.readouterr().err == "brg-prob: interrupted; nothing was written\n"
    assert not (folder / "new").exists()


def test_a_bug_is_not_dressed_up_as_bad_input(folder, monkeypatch):
    monkeypatch.setattr("brg_prob.cli.loading.execute", lambda *args: np.linspace(0, 1, -1))
    with pytest.raises(ValueError, match="Number of samples"):
        main(["run", COSNET, "--out", "new"])


def test_arguments_are_checked_before_jax_is_imported(folder):
    code = (
        "import sys, time\n"
        "from brg_prob.cli import main\n"
        f"codes = [main(['run', {COSNET!r}, *words]) for words in "
        "(['--model.dim', 'x'], ['--scheme', 'y'], ['--draws', 'z'], ['--data', 'n'], ['--out', 'notes'])]\n"
        "assert codes == [2] * 5, codes\n"
        "heavy = {'jax', 'numpyro', 'arviz', 'xarray', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 5


def test_help_fits_eighty_columns_and_shows_the_networks_options(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["run", COSNET, "--scheme", "shell", "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for flag in ("--model.mass", "--engine.members", "--scheme.basis eigen|parameter", "(default: 4000)"):
        assert flag in text
    assert main(["--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"brg-prob \d+\.\S+\n", capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["engine", "scheme"])
def test_flags_read_off_the_source_are_the_fields_of_the_class(kind):
    import dataclasses
    import importlib

    registry = {"engine": arguments.ENGINES, "scheme": arguments.SCHEMES}[kind]
    for name, (file, class_name) in registry.items():
        module = importlib.import_module("brg_prob." + file.removesuffix(".py").replace("/", "."))
        fields = dataclasses.fields(getattr(module, class_name))
        found = {f.name: f.default for f in fields if "Engine" not in str(f.type)}  # the run's own, no flag
        read = arguments.registered_options(kind, name)
        assert [option.name for option in read] == list(found)
        for option in read:
            assert option.parse(option.default.strip("'"), "--x") == found[option.name]
            assert option.help


def test_options_of_several_files_and_forms_are_understood(tmp_path):
    path = tmp_path / "net:work é.py"
    path.write_text(
        "from dataclasses import dataclass, field\n"
        "@dataclass\nclass Base:\n    mass: float = 1.0\n    skipped: int = field(default=2, init=False)\n"
        "@dataclass(frozen=True)\nclass Net(Base):\n    '''A net.\n\n    Attributes\n    ----------\n"
        "    deep\n        Whether it is deep. Or not.\n    '''\n    deep: bool = False\n"
        "    kind: str = field(default='a')\n    def __call__(self, x, y=None): ...\n",
        encoding="utf-8",
    )
    source = arguments.read_model_source(str(path))
    assert source.name == "Net"
    assert [(o.name, o.default) for o in source.options] == [
        ("mass", "1.0"),
        ("deep", "False"),
        ("kind", "'a'"),
    ]
    assert next(o for o in source.options if o.name == "deep").help == "Whether it is deep"
    request = parse_run(
        [f"{path}:Net", "--model.deep", "yes", "--model.mass=3", "--out", str(tmp_path / "o")]
    )
    assert request.model.options == {"deep": True, "mass": 3.0}


def test_named_values_are_looked_up_not_evaluated():
    named = options.Named.parse("Matern(0.5)", "--x")
    assert (named.name, named.values, named.options) == ("Matern", (0.5,), ())
    for text in ("__import__('os').system('x')", "a.b", "f(g())", "1", "f(*x)"):
        with pytest.raises(options.UsageError):
            options.Named.parse(text, "--x")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a small run with a space and an accent in its path."""
    folder = tmp_path_factory.mktemp("out") / "first run é"
    words = [
        "run",
        COSNET,
        *SMALL,
        "--model.spectrum",
        "Matern(smoothness=0.5)",
        "--out",
        str(folder),
        "--quiet",
    ]
    assert main(words) == 0
    return folder


def test_a_run_leaves_its_four_files_and_says_how_to_repeat_it(finished):
    assert {p.name for p in finished.iterdir()} == {"model.json", "draws.nc", "summary.json", "report.html"}
    model = json.loads((finished / "model.json").read_text(encoding="utf-8"))
    assert model["source"] == Path(COSNET).read_text(encoding="utf-8")
    assert model["command"].startswith("brg-prob run ")
    assert model["options"]["box"] == 10.0
    assert "Matern(smoothness=0.5" in model["options"]["spectrum"]


def test_report_is_rendered_again_from_what_is_stored(finished, capsys):
    before = (finished / "report.html").read_text(encoding="utf-8")
    (finished / "report.html").unlink()
    assert main(["report", str(finished)]) == 0
    assert str(finished / "report.html") in capsys.readouterr().out
    assert (finished / "report.html").read_text(encoding="utf-8") == before


def test_a_table_is_trained_on_and_shown_in_its_own_units(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    # 63 points to train on, as everywhere here: what jax has compiled is used again
    x = 1950 + np.arange(126) / 12
    y = 300 + 1.5 * (x - 1950) + np.random.default_rng(0).normal(size=126)
    rows = "\n".join(f"{a!r},{b!r}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    (tmp_path / "co2 é.csv").write_text(f"year [yr],co2 [ppm]\n{rows}\n", encoding="utf-8")
    words = [
        "run",
        COSNET,
        "--data",
        str(tmp_path / "co2 é.csv"),
        "--tune",
        "--scales",
        "3",
        "--draws",
        "600",
    ]
    assert main([*words, "--out", str(tmp_path / "r")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= max(80, len(f"report: {tmp_path}/r/report.html"))
    assert f"report: {tmp_path / 'r' / 'report.html'}" in out
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "co2 (ppm)" in page
    assert "rad/yr" in page
    import brg_prob

    run = brg_prob.pipeline.load_run(tmp_path / "r")
    record = run.tree["record"].to_dataset().sortby("input")
    np.testing.assert_allclose(record["input"].values, x, rtol=1e-13)
    np.testing.assert_allclose(record["value"].values, y, rtol=1e-13)
    assert record["training"].values.tolist() == [1, 0] * 63
    assert run.summary["model"]["options"]["box"] == pytest.approx(126 / 12)


def test_a_model_of_ones_own_and_a_verdict_told_by_the_exit_status(tmp_path, capsys, monkeypatch):
    # drawing the figures takes longer than all the rest
    monkeypatch.setattr("brg_prob.pipeline.run_result.render_report", lambda run: "a report")
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from models.cosnet import CosNet\n\n"
        "model = CosNet(box=10.0)\n",
        encoding="utf-8",
    )
    words = ["run", str(tmp_path / "mine.py"), *SMALL, "--out", str(tmp_path / "r"), "--model.mass", "2"]
    # far too few draws for a tolerance of 0.1 %
    assert main([*words, "--quiet", "--strict", "--tolerance", "0.001"]) == 1
    assert capsys.readouterr() == ("", "")
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["verdict"] == "undetermined"
    assert summary["model"]["name"] == "model"
    assert summary["model"]["options"]["mass"] == 2.0
