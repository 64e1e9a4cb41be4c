"""The README's Python runs as printed."""

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from brg_prob.cli import main
from brg_prob.tables import read_table

ROOT = Path(__file__).resolve().parents[1]


def block(beginning):
    """Return the one block of Python that begins so."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```python\n({beginning}.*?)```", text, flags=re.S)
    return code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working directory with the README's model and data."""
    (tmp_path / "growth.py").write_text(block("# growth.py"), encoding="utf-8")
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_command_of_one_s_own_model_and_table_runs_and_says_what_it_did(folder, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Your own model, your own table")[1].split("\n## ")[0]
    (commands,) = re.findall(r"```sh\n(.*?)```", section, flags=re.S)
    for line in commands.strip().splitlines():
        program, *words = shlex.split(line)
        assert (program, main(words)) == ("brg-prob", 0)
    said = " ".join(capsys.readouterr().out.split())
    for sentence in (
        "variety: 3 levels (Batavia = 0, Cos = 1, Oakleaf = 2)",
        "watered: yes is 1 and no is 0",
        "not used, for no argument of model takes them: sown",
        "1 missing target value in 1 row left out of the likelihood",
        "nothing held out",
    ):
        assert sentence in said
    assert "base[Oakleaf]" in said
    summary = json.loads((folder / "runs" / "lettuce" / "summary.json").read_text(encoding="utf-8"))
    assert summary["notes"][0].startswith("variety: 3 levels")
    table = read_table(
        "data/lettuce.csv", columns=["variety", "watered", "dose", "growth"], drop_missing=True
    )
    columns = [table.columns[name] for name in ("variety", "watered", "dose", "growth")]
    variety, watered, dose, growth = columns
    features = np.column_stack([np.eye(3)[variety.astype(int)], watered, dose])
    least = np.linalg.lstsq(features, growth, rcond=None)[0]  # the priors are wide
    with xr.open_datatree("runs/lettuce/draws.nc", engine="h5netcdf") as tree:
        found = tree["posterior"].to_dataset()
        assert list(found["base_dim_0"].values) == ["Batavia", "Cos", "Oakleaf"]
        np.testing.assert_allclose(found["base"].mean(("chain", "draw")), least[:3], atol=0.06)
        np.testing.assert_allclose(found["slope"].mean(), least[4], atol=0.02)


@pytest.mark.slow
def test_the_same_from_a_data_frame(folder):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block("import jax, pandas, brg_prob"), "README.md", "exec"), {})
    assert abs(float(out.getvalue()) - 0.35) < 0.1  # what the table was drawn with


def test_ten_lines_of_python_run_and_agree():
    code = block("import jax, brg_prob")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue().startswith("agrees: At all")


@pytest.mark.slow
def test_a_plain_model_is_held_against_the_posterior_sampled_anew():
    own = {}
    code = block("import jax, numpyro, numpyro.distributions as dist, brg_prob\n")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), own)
    assert len(out.getvalue().splitlines()) == 2 and "Pareto k" in out.getvalue()
    found = own["brg_prob"].check_correspondence(own["flow"], own["brg_prob"].SampledAnew(own["truth"]))
    assert found.verdict == "consistent", found.status


def test_every_file_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []
