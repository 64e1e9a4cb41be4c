"""The exam of the command line tells right from wrong: each of its complaints has an input that draws it."""

import contextlib
import dataclasses
import io
import subprocess

import pytest

from brg_prob.cli import main
from exams import commands
from exams.kinds import cases_of


@pytest.fixture
def in_process(monkeypatch):
    """Run the command line here: what it imports and compiles is used again."""

    def run(words, **options):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words[3:])
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    monkeypatch.setattr(commands.subprocess, "run", run)


def test_a_refusal_is_right_only_where_it_is_expected_and_for_its_reason(in_process, tmp_path):
    case = next(case for case in cases_of("own_assertion") if case.refused)
    assert commands.by_command("own_assertion", case, tmp_path / "a").startswith("refused: the model fails")
    other = dataclasses.replace(case, refused="another reason")
    assert commands.by_command("own_assertion", other, tmp_path / "b").startswith("another refusal: ")
    answered = dataclasses.replace(case, refused="")
    assert commands.by_command("own_assertion", answered, tmp_path / "c").startswith("not to be refused: ")


@pytest.mark.slow
def test_wrong_numbers_and_silence_are_complained_of(in_process, tmp_path):
    case = cases_of("site_names")[0]
    mean, sd = case.posterior["line/b"]
    off = dataclasses.replace(
        case,
        posterior={"line/b": (mean + sd, sd)},
        information=(2 * case.information[0],),
        says=("nothing held out", "everything held out"),
    )
    found = commands.by_command("site_names", off, tmp_path / "a", draws=400)
    assert [part.partition(" ")[0] for part in found.split("; ")] == ["mean", "T", "does"]
    assert "'everything held out'" in found
    assert "'nothing held out'" not in found
    run = tmp_path / "a" / "run"
    assert commands.judged(case, run, "· nothing held out") == "ok"
