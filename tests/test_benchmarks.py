"""The benchmarks run at toy size: both sides agree before anything is timed."""

import json
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks.harness import close, measure
from benchmarks.import_time import prepare


def test_small_benchmarks_agree_with_their_peers(monkeypatch, tmp_path, capsys):
    out = tmp_path / "rows.json"
    names = (
        "fisher_spectrum",
        "exact_posterior",
        "flow_draws",
        "stepped_sgd",
        "fisher_diagonal",
        "readout_posterior",
    )
    words = [word for name in names for word in ("--only", name)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--small", "--repeats", "1", "--out", str(out), *words])
    monkeypatch.setattr(command, "peak_memory", lambda module, small: 1.0)
    assert command.main() == 0
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == list(names)
    assert all(row["agreement"] and row["ours_s"] > 0 and row["peer_s"] > 0 for row in rows)
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80


def test_unequal_outputs_are_refused():
    with pytest.raises(AssertionError, match="differ"):
        close(1e-9)([1.0, 2.0], [1.0, 2.1])


@pytest.mark.slow
def test_import_costs_no_more_than_a_fifth_over_its_dependencies():
    row = measure("import_time", prepare(small=True), repeats=1)
    assert row["ratio"] < row["bar"]
