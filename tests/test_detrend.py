"""Which line a run takes off its table, and what its record then says, from the command line's words on."""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import linregress

from brg_prob.cli.loading.module import load_module
from brg_prob.cli.loading.problem import problem_of
from brg_prob.cli.request import parse_run
from brg_prob.data_record import Record, recorded
from brg_prob.options import UsageError
from brg_prob.posterior import fit
from brg_prob.tables import read_table
from brg_prob.transform import Standardisation
from models.cosnet import CosNet

COSNET = str(Path(__file__).parents[1] / "models" / "cosnet.py")
MONTHS = 126  # ten years and a half
TIME = 1951 + np.arange(MONTHS) / 12
NOISE = np.random.default_rng(0).normal(size=MONTHS)
SEASON = 9 * np.cos(2 * np.pi * TIME) + NOISE
OWN = "import numpyro\ndef model(x, y=None):\n    ...\n"


@pytest.fixture
def problem(tmp_path, monkeypatch):
    """Return a function from values and words to the problem that a run would be given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)

    def made(y, *words, model=None):
        table = "year [yr],t [°C]\n" + "".join(
            f"{x!r},{v!r}\n" for x, v in zip(TIME.tolist(), y.tolist(), strict=True)
        )
        (tmp_path / "table.csv").write_text(table)
        path = COSNET if model is None else model
        request = parse_run([path, "--data", "table.csv", "--held-out", "none", *words])
        module = load_module(request.source.path)
        return problem_of(request, module, read_table("table.csv"), jax.random.key(0))

    return made


def slope(problem):
    return problem.record.preparation.slope[0]


def test_a_line_is_taken_off_a_lattice_only_if_the_ends_do_not_meet(problem):
    rising = SEASON + 6 * (TIME - 1951)
    fitted = linregress(TIME, rising).slope
    assert slope(problem(SEASON)) == 0
    assert slope(problem(rising)) == pytest.approx(fitted)
    assert slope(problem(rising, "--detrend", "auto")) == pytest.approx(fitted)
    assert slope(problem(SEASON, "--detrend", "line")) == pytest.approx(linregress(TIME, SEASON).slope)
    for words in (["--no-detrend"], ["--detrend", "none"]):  # the first is what older runs are stored with
        assert slope(problem(rising, *words)) == 0


def test_without_a_box_that_the_record_fills_no_line_is_taken_off_unasked(problem):
    rising = SEASON + 6 * (TIME - 1951)
    assert slope(problem(rising, "--model.width", "20")) == 0  # random momenta close no circle
    assert slope(problem(rising, "--model.box", "12", "--model.cutoff", "9")) != 0
    assert slope(problem(rising, "--model.box", "40", "--model.cutoff", "9")) == 0  # a gap of thirty years


def test_a_model_of_the_users_own_learns_the_data_as_they_are(problem):
    found = problem(SEASON + 6 * (TIME - 1951), model="own.py")
    np.testing.assert_array_equal(found.y, SEASON + 6 * (TIME - 1951))
    with pytest.raises(UsageError, match="--detrend line: 'model' learns the data as they are"):
        problem(SEASON, "--detrend", "line", model="own.py")


def record_of(y, unit="yr", **options):
    """Return the attributes of the record of a small lattice."""
    prepare = Standardisation.fit(TIME, y, **options)
    x = prepare.forward_inputs(TIME)
    network = CosNet(box=10.5, cutoff=2.0)
    posterior = fit(network, x, prepare.forward(TIME, y), key=jax.random.key(0), draws=4)
    record = Record(
        inputs=("year",), targets=("t",), units={"year": unit, "t": "°C"}, preparation=prepare, dropped=3
    )
    return recorded(network, posterior, record, jax.random.key(1)).attrs


def test_the_record_says_what_was_done_to_it_and_what_was_not():
    rising = SEASON + 6 * (TIME - 1951)
    attrs = record_of(rising, detrend="periodic")
    rise = linregress(TIME, rising).slope * np.ptp(TIME)
    assert attrs["transformation"].startswith(
        f"a fitted line of {rise:.4g} °C over the record was taken off, "
    )
    assert attrs["transformation"].endswith("; undone in what is shown; rows left out for a missing value: 3")
    share = 40.5 / 41.5  # of a cosine of size 9 beside noise of variance 1
    carried = f"an annual cycle carries {100 * share:.0f} % of the variance about a straight line"
    assert attrs["seasonality"] == f"{carried}; nothing was done about it"
    untouched = record_of(NOISE, unit="", standardise=False)
    assert untouched["transformation"].startswith("nothing was done to the data; rows left out")
    assert untouched["seasonality"] == ""
