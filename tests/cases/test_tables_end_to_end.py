"""Tables as people have them, from the file to the posterior, and back to the labels and dates in it."""

import html
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray as xr

import brg_prob
from brg_prob.cli import main
from brg_prob.pipeline import load_run
from brg_prob.tables import read_table
from exams.kinds.case import Case, Regression, quadrature, wrong

N = 24
X = np.round(np.random.default_rng(3).normal(size=N), 3)
Y = np.round(0.5 + X + np.random.default_rng(4).normal(size=N), 3)
KINDS = ("tall", "dwarf", "medium")
GROUP = [KINDS[at % 3] for at in range(N)]
CODE = np.array([sorted(KINDS).index(name) for name in GROUP])
MONTHS = [f"{1998 + at // 12}-{at % 12 + 1:02}" for at in range(N)]
QUARTERS = [f"{1999 + at // 4}Q{at % 4 + 1}" for at in range(N)]
LARGE = np.arange(N) * 137 + 870


def line(x, y=None):
    """Observe a line in the first input, about 2000."""
    a = numpyro.sample("a", dist.Normal(0, 10))
    b = numpyro.sample("b", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(a + b * x[:, 0], 1), obs=y)


def group(kind, y=None):
    """Observe a mean for each kind."""
    with numpyro.plate("kinds", 3):
        a = numpyro.sample("a", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(a[kind], 1), obs=y)


def passed(x, y=None):
    """Observe whether."""
    b = numpyro.sample("b", dist.Normal(0, 2))
    numpyro.sample("y", dist.Bernoulli(logits=b * x[:, 0]), obs=y)


def rows(*columns, by=","):
    """Return lines of cells."""
    return "".join(by.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def comma(values):
    """Return numbers with decimal commas."""
    return [str(value).replace(".", ",") for value in values]


def ruled(x, y):
    """Return what is right of a line."""
    return Regression(("a", "b"), np.stack([np.ones(len(y)), x], axis=1), np.asarray(y, float), 10, 1)


YES = [("no", "yes")[int(value > 0.5)] for value in Y]
SIGN = np.array([{"no": 1, "yes": -1}[word] for word in YES])
WHETHER = quadrature(
    lambda b: -(b**2) / 8 - np.logaddexp(0, np.multiply.outer(SIGN * X, b)).sum(axis=0),
    b=np.linspace(-3, 9, 6001),
)
GAPS = [at for at in range(N) if at % 7]
# name: model, text, what is right, first inputs and targets, what is said
TABLES = {
    "dates": (
        line, "when,sea level [cm]\n" + rows([f"{month}-01" for month in MONTHS], Y),
        ruled(1998 + np.arange(N) / 12, Y), ([1998, 1998 + 1 / 12], Y[:2]),
        "when: calendar dates as years, months taken as equispaced twelfths",
    ),
    "quarters": (
        line, "quarter,rate [%]\n" + rows(QUARTERS, Y), ruled(1999 + np.arange(N) / 4, Y),
        ([1999, 1999.25], Y[:2]), "quarter: quarters as years, equispaced by a fourth",
    ),
    "decimal comma": (
        line, "x;y\n" + rows(comma(X), comma(Y), by=";"), ruled(X, Y), (X[:2], Y[:2]),
        "x, y: comma read as the decimal point because semicolons separate",
    ),
    "thousands": (
        line, "x,sold\n" + rows(X, [f'"{value:,}"' for value in LARGE]), ruled(X, LARGE),
        (X[:2], [870, 1007]), "sold: thousands separators removed",
    ),
    "counter": (
        line, ",x,y\n" + rows(range(N), X, Y), ruled(X, Y), (X[:2], Y[:2]),
        "column 1 (unnamed) counts the rows and is left out",
    ),
    "gaps": (
        line, "x,y\n" + rows(["#N/A" if at not in GAPS else X[at] for at in range(N)], Y),
        ruled(X[GAPS], Y[GAPS]), (X[1:3], Y[1:3]), "",
    ),
    "labels": (
        group, "kind,y\n" + rows(GROUP, Y),
        Regression(("a[0]", "a[1]", "a[2]"), np.eye(3)[CODE], Y, 10, 1), (CODE[:2], Y[:2]),
        "kind: 3 levels (dwarf = 0, medium = 1, tall = 2)",
    ),
    "yes and no": (passed, "x,passed\n" + rows(X, YES), WHETHER, (X[:2], []), "passed: yes is 1 and no is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_reaches_its_posterior_through_python(name, tmp_path):
    model, text, right, (x, y), said = TABLES[name]
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    if name == "gaps":
        with pytest.raises(ValueError, match=r"4 rows with .*--drop-missing"):
            brg_prob.bind(read_table(path, may_miss=None), model)
    table = read_table(path, may_miss=None)
    bound = brg_prob.bind(table, model, drop_missing=name == "gaps")
    np.testing.assert_allclose(bound.x[:2, 0], x, rtol=1e-12)
    np.testing.assert_allclose(bound.y[: len(y)], y, rtol=1e-12)
    assert bound.y.shape == (len(GAPS) if name == "gaps" else N,)
    assert said in " · ".join(bound.notes)
    engine = brg_prob.NUTS(warmup=300) if model is passed else brg_prob.Laplace()
    key = jax.random.key(0)
    tree = brg_prob.fit(bound.network, bound.x, bound.y, engine=engine, key=key, draws=800)
    posterior = right if isinstance(right, dict) else right.posterior
    assert wrong(Case("", {}, posterior), tree) == ""
    assert tree.attrs["n"] == len(bound.y)


MODELS = """
import numpyro
import numpyro.distributions as dist


def group(kind, y=None):
    with numpyro.plate("kinds", 3):
        a = numpyro.sample("a", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(a[kind], 1), obs=y)


def weights(x, y=None):
    w = numpyro.sample("w", dist.Normal(0, 3).expand([2]).to_event(1))
    f = numpyro.deterministic("f", x @ w)
    numpyro.sample("y", dist.Normal(f, 1), obs=y)
"""


def written(folder, capsys, table, *words):
    """Run the command line; return the folder, what was said, and what is in the folder."""
    Path("net.py").write_text(MODELS, encoding="utf-8")
    Path("table.csv").write_text(table, encoding="utf-8")
    words = [*words, "--data", "table.csv", "--engine", "laplace", "--draws", "600", "--scales", "2"]
    assert main(["run", *words, "--out", str(folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    run = load_run(folder)
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    return said, run, page


def csv_of(page, figure):
    """Return the numbers of a figure as its page offers them."""
    uri = re.search(rf'download="[^"]*{figure}\.csv"[^>]*href="data:[^,]*,([^"]*)"', page) or re.search(
        rf'href="data:[^,]*,([^"]*)"[^>]*download="[^"]*{figure}\.csv"', page
    )
    return pd.read_csv(io.StringIO(unquote(uri.group(1))))


@pytest.mark.slow
def test_labels_come_back_in_all_that_a_run_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = "kind,y\n" + rows(GROUP, Y)
    said, run, page = written(tmp_path / "run", capsys, table, "net.py:group")
    note = "kind: 3 levels (dwarf = 0, medium = 1, tall = 2)"
    assert f"· {note}" in said
    assert note in run.summary["notes"]
    assert note in page
    with xr.open_datatree(tmp_path / "run" / "draws.nc", engine="h5netcdf") as tree:
        assert tree.attrs["n"] == N
        posterior = tree["posterior"].to_dataset().load()
    assert posterior["a_dim_0"].values.tolist() == ["dwarf", "medium", "tall"]
    for label in sorted(KINDS):
        own = Y[np.array(GROUP) == label]
        mean = float(posterior["a"].sel(a_dim_0=label).mean())
        assert mean == pytest.approx(own.sum() / (len(own) + 0.01), abs=0.08)
        assert f"a[{label}]" in said
        assert f"a[{label}]" in page
    assert "a[0]" not in said
    numbers = csv_of(page, "field")
    assert numbers["input: kind"].tolist() == GROUP
    np.testing.assert_allclose(numbers["value"], Y)


def test_labels_whose_order_is_observed_are_not_taken_alphabetically(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import jax.numpy as jnp, numpyro, numpyro.distributions as dist\n"
        "def model(x, y=None):\n"
        "    b = numpyro.sample('b', dist.Normal(0, 1))\n"
        "    cuts = jnp.array([-1.0, 1.0])\n"
        "    numpyro.sample('y', dist.OrderedLogistic(b * x[:, 0], cuts), obs=y)\n",
        encoding="utf-8",
    )
    words = ["low", "medium", "high"]
    grades = [words[at % 3] for at in range(N)]
    Path("table.csv").write_text("x,grade\n" + rows(X, grades), encoding="utf-8")
    assert main(["run", "net.py", "--data", "table.csv"]) == 2
    assert "coded in that of the alphabet (high, low, medium); give the numbers" in capsys.readouterr().err


@pytest.mark.slow
def test_columns_and_dates_keep_their_names_in_all_that_a_run_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = "month,dose [mg],y\n" + rows(MONTHS, X, Y)
    said, run, page = written(tmp_path / "run", capsys, table, "net.py:weights", "--target", "y")
    note = "month: months as years, equispaced by a twelfth"
    assert note in run.summary["notes"]
    with xr.open_datatree(tmp_path / "run" / "draws.nc", engine="h5netcdf") as tree:
        assert tree["posterior"]["w_dim_0"].values.tolist() == ["month", "dose"]
        record = tree["record"].to_dataset().load()
    for name in ("w[month]", "w[dose]"):
        assert name in said
        assert name in page
    assert "w[0]" not in said + page
    calendar = json.loads(json.loads(record.attrs["calendars"])["month"])
    assert brg_prob.tables.Calendar(**calendar).labels(record["input"].values[:, 0]) == MONTHS
    numbers = csv_of(page, "field")
    assert numbers["input 1: month"].tolist() == MONTHS
    np.testing.assert_allclose(numbers.filter(like="input 2").iloc[:, 0], X)
