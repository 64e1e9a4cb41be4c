"""The numbers in a report, parsed back, are those of the draws.nc that was saved beside it."""

import csv
import io
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr

from brg_prob import store
from brg_prob.summary import summarise

# figure → variables of the tree whose every value its CSV holds, bit by bit
BEHIND = {
    "field": [
        "record/input",
        "record/value",
        "record/prior_mean",
        "record/posterior_mean",
        "record/posterior_sd",
    ],
    "spectrum": ["theory/momentum", "theory/fisher_measured", "theory/fisher_predicted"],
    "running": [
        "flow/observations",
        "theory/running_mass_squared_measured",
        "theory/running_mass_squared_se",
    ],
    "information": ["flow/effective_dimension", "flow/kl_to_prior", "shell/flow/effective_dimension"],
    "score": ["flow/score_difference", "flow/observations"],
    "theories": [
        "field_theory/two_point",
        "field_theory/four_point",
        "field_theory/power",
        "field_theory/lag",
    ],
    "data-spectrum": ["data_spectrum/power", "data_spectrum/predicted", "data_spectrum/low"],
    "evidence": ["tuning/mass_grid", "tuning/log_evidence"],
    "trust": ["trust/signal", "trust/momentum"],
    "convergence": ["diagnostics/r_hat", "diagnostics/ess_bulk", "diagnostics/rank_count"],
}
NUMBER = r"(−?[\d.]+(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?|–)"


@pytest.fixture(scope="module")
def saved(tree, text, tmp_path_factory):
    """The tree as it was written to draws.nc, read by xarray alone; and the report beside it."""
    folder = tmp_path_factory.mktemp("runs") / "example"
    model = {"source": "x = 1", "sha256": "ab" * 32}
    store.write_run(folder, tree=tree, summary=summarise(tree), model=model, pages={store.REPORT: text})
    with xr.open_datatree(folder / store.DRAWS, engine="h5netcdf") as draws:
        return draws.load(), (folder / store.REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(saved, parse):
    """The saved report, parsed."""
    return parse(saved[1])


def value(text):
    """Return the number that a cell shows, with the half-width of its last digit."""
    if text == "–":
        return np.nan, np.nan
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    mantissa, _, power = text.replace("−", "-").partition("·10")
    factor = 10.0 ** int(power.translate(superscripts)) if power else 1.0
    decimals = len(mantissa.partition(".")[2])
    digits = len(mantissa.strip("-").replace(".", "").lstrip("0"))
    step = 10.0**-decimals
    if digits > 3:  # whole numbers are rounded to three digits
        step = 10.0 ** (len(mantissa.strip("-").partition(".")[0]) - 3)
    return float(mantissa) * factor, 0.51 * max(step, 10.0**-decimals) * factor


def agrees(text, expected):
    """Whether a cell shows a number, to its last digit; trailing zeros are not shown."""
    shown, half = value(text)
    if not np.isfinite(expected):
        return np.isnan(shown)
    if shown == 0:
        return expected == 0
    return abs(shown - expected) <= max(half * 1e-9, 0.0051 * abs(expected))


def rows_of(found, columns, heading):
    """Return the tables whose first row begins with a heading, as lists of rows."""
    tables, inside = [], False
    for row in found.cells:
        if row and row[0].strip() == heading and len(row) == columns:
            tables.append([])
            inside = True
        elif inside and len(row) == columns:
            tables[-1].append([cell.strip() for cell in row])
        else:
            inside = False
    return tables


def test_table_of_scales_is_that_of_the_file(saved, found):
    draws, _ = saved
    for branch, heading, shift in ((draws, "observations T", 0), (draws["shell"], "fisher cutoff Λ_I", 1)):
        flow, theory = branch["flow"], branch["theory"]
        p_values = branch["checks"]["scale_p_value"].values[:2]
        (table,) = rows_of(found, 7 + shift, heading)
        assert len(table) == flow.sizes["scale"]
        for at, row in enumerate(table):
            expected = [
                flow["observations"].values[at],
                theory["momentum_cutoff"].values[at],
                flow["effective_dimension"].values[at],
                flow["kl_to_prior"].values[at],
            ]
            shown = row[shift : shift + 4]
            assert all(map(agrees, shown, expected)), row
            score, error = row[shift + 4].split(" ± ")
            assert value(score)[0] == pytest.approx(flow["test_score"].values[at], abs=5.1e-4)
            assert value(error)[0] == pytest.approx(flow["test_score_se"].values[at], abs=5.1e-4)
            for shown_p, p in zip(row[shift + 5 :], p_values[:, at], strict=True):
                assert value(shown_p)[0] == pytest.approx(p, rel=0.06)
    assert not agrees("41", 42.0)  # the comparison can fail
    assert not agrees("–", 42.0)


def test_table_of_checks_is_that_of_the_file(saved, found):
    draws, _ = saved
    rows = [row for row in found.cells if len(row) == 6 and row[1] in ("diffusion", "shell")]
    for branch, scheme in ((draws, "diffusion"), (draws["shell"], "shell")):
        checks = branch["checks"].to_dataset()
        for at in range(checks.sizes["check"]):
            name = str(checks["name"].values[at])
            (row,) = [row for row in rows if row[:2] == [name, scheme]]
            assert agrees(row[2].strip(), float(checks["statistic"].values[at]))
            p = float(checks["p_value"].values[at])
            assert row[3] == "< 10⁻⁶" if p < 1e-6 else value(row[3])[0] == pytest.approx(p, rel=0.06)
            power = float(checks["smallest_detectable"].values[at])
            shown = row[4].removesuffix(" %")
            assert (
                shown == "–" if np.isnan(power) else value(shown)[0] == pytest.approx(100 * power, rel=0.06)
            )


@pytest.mark.parametrize("figure", BEHIND)
def test_csv_behind_a_figure_is_that_of_the_file(saved, found, figure):
    draws, _ = saved
    uri = dict(found.files)[f"CosNet-{figure}.csv"]
    numbers = set()
    for row in csv.reader(io.StringIO(unquote(uri.partition(",")[2]))):
        for cell in row:
            try:
                numbers.add(float(cell))
            except ValueError:
                continue
    for path in BEHIND[figure]:
        group, _, name = path.rpartition("/")
        values = np.asarray(draws[group][name].values, dtype=float)
        values = set(values[np.isfinite(values)].ravel().tolist())
        assert values <= numbers, path
        off = {np.nextafter(number, np.inf) for number in values}
        assert not off <= numbers  # one bit more would be noticed


def test_slider_carries_the_numbers_of_the_file(saved, found):
    draws, _ = saved
    content = json.loads(next(script for attrs, script in found.scripts if attrs.get("id") == "slides"))
    panels = {panel["name"]: panel for panel in content["panels"]}
    for name, table, column, path in (
        ("moving-field", "field", "mean", "slides/field_mean"),
        ("moving-propagator", "modes", "y", "theory/measured"),
        ("moving-propagator", "curve", "predicted", "theory/predicted"),
    ):
        shown = np.array(panels[name]["moving"][table][column], dtype=float)
        np.testing.assert_allclose(shown, draws[path].values, rtol=1e-5)
    threshold = np.ravel(panels["moving-fisher"]["moving"]["threshold"]["level"])
    np.testing.assert_allclose(threshold, 1 / draws["flow/observations"].values, rtol=1e-5)
    width = np.diff(draws["slides/bin_edge"].values)
    count = draws["slides/histogram"].values
    shown = np.array(panels["moving-histogram"]["moving"]["bars"]["y"]) * width * count.sum(axis=1)[:, None]
    np.testing.assert_allclose(shown, count, rtol=1e-5)


def test_numbers_said_in_the_header_are_those_of_the_file(saved, found):
    draws, _ = saved
    said = " ".join(" ".join(found.text).split())
    eigenvalue = draws["fisher/eigenvalue"].values
    weight = float(draws.attrs["observations"]) * eigenvalue
    shown = re.search(rf"effective dimension {NUMBER} of {eigenvalue.size} modes", said)[1]
    assert agrees(shown, float((weight / (1 + weight)).sum()))
    shown = re.search(rf"KL from prior {NUMBER} nats", said)[1]
    assert agrees(shown, float(draws["flow/kl_to_prior"].values[0]))


def undrawn_text(text):
    """A page without its drawings, and without the digest, which is of them, too."""
    text = re.sub(r"brg_prob sha256:[0-9a-f]{64}", "", text)
    text = re.sub(r"<svg viewBox.*?</svg>", "", text, flags=re.DOTALL)
    return re.sub(r'"data:image/svg[^"]*"', "", text)


@pytest.mark.usefixtures("undrawn")
def test_a_report_made_from_the_saved_run_is_the_same(saved, text, reported):
    """What is read back gives the very page that was written: nothing is lost on disk."""
    draws, _ = saved
    assert undrawn_text(reported(draws)) == undrawn_text(text)
    assert len(undrawn_text(text)) > 1e6  # the rest of it is there
