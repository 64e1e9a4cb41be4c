"""Stages are found again by content and by nothing else; one writer at a time."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import xarray as xr

from brg_prob import store
from brg_prob.digest import content_digest
from brg_prob.store import locks


def tree(value=1.0):
    made = xr.DataTree.from_dict({"posterior": xr.Dataset({"f": ("x", np.full(3, value))})})
    made.attrs.update(noise=0.5, n=3, engine="exact")
    return made


@dataclasses.dataclass(frozen=True)
class Choice:
    steps: int = 1


@dataclasses.dataclass(frozen=True)
class Other:
    steps: int = 1


DIFFERENT = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    [1],
    [[1]],
    [1, 1],
    {"a": 1},
    {"a": 1.0},
    {"b": 1},
    np.array([1.0]),
    np.array([1.0], dtype=np.float32),
    np.array([[1.0]]),
    np.array([np.nextafter(1.0, 2.0)]),
    Choice(),
    Choice(2),
    Other(),
    "ab",
    ["a", "b"],
]


def test_no_two_different_values_share_a_digest():
    found = [content_digest(value) for value in DIFFERENT]
    assert len(set(found)) == len(found)
    assert [content_digest(value) for value in DIFFERENT] == found
    assert content_digest("a", "b") != content_digest("ab")


def test_random_keys_and_jax_arrays_count_by_their_content():
    assert content_digest(jax.random.key(1)) == content_digest(jax.random.key(1))
    assert content_digest(jax.random.key(1)) != content_digest(jax.random.key(2))
    assert content_digest(jax.numpy.ones(3)) == content_digest(np.ones(3))
    assert content_digest({"a": 1, "b": 2}) == content_digest({"b": 2, "a": 1})


def test_what_has_no_content_is_never_found_again():
    for value in (lambda: 1, object(), np.array([object()])):
        assert content_digest(value) != content_digest(value)


def work(folder, error, find=False):
    """Keep a stage, or find the one kept before, and stop with an error."""
    with store.working(folder) as desk:
        if find:
            assert desk.find("posterior", "another") is None
            found = desk.find("posterior", "d1")
            xr.testing.assert_identical(found, tree())
            assert {name: type(value) for name, value in found.attrs.items()} == {
                name: type(value) for name, value in tree().attrs.items()
            }
            assert desk.reused == ["posterior"]
        else:
            desk.keep("posterior", "d1", tree())
        raise error


def test_a_stage_of_an_interrupted_run_is_found_by_its_digest_only(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="goes on from there"):
        work(folder, KeyboardInterrupt())
    assert not folder.exists()
    with pytest.raises(RuntimeError):
        work(folder, RuntimeError(), find=True)
    # a refused run takes with it what it kept itself, not what it found
    with store.working(folder, fresh=True) as third:
        assert third.find("posterior", "d1") is None
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="bad"):
        work(tmp_path / "new" / "run", ValueError("bad"))
    assert list(tmp_path.iterdir()) == []


def test_a_bug_or_a_full_memory_keeps_what_is_finished_and_says_so(tmp_path):
    with pytest.raises(MemoryError) as raised:
        work(tmp_path / "run", MemoryError())
    assert "goes on from there" in raised.value.__notes__[0]
    with pytest.raises(ValueError, match="later"):
        work(tmp_path / "run", ValueError("later"), find=True)
    with store.working(tmp_path / "run") as desk:
        assert desk.find("posterior", "d1") is not None  # found, not kept, by the run that was refused
    assert list(tmp_path.iterdir()) == []


def write(folder, digest="d1", value=1.0):
    whole = tree(value)
    whole["record"] = xr.DataTree(xr.Dataset({"a": ("row", np.arange(2.0))}))
    model = {"stages": {"posterior": store.described_stage(digest, tree(value), "")}}
    return store.write_run(folder, tree=whole, summary={}, model=model, pages={}).folder


def test_a_stage_of_the_finished_run_is_found_without_the_rest(tmp_path):
    folder = write(tmp_path / "run")
    with store.working(folder) as found:
        xr.testing.assert_identical(found.find("posterior", "d1"), tree())
        assert found.find("posterior", "d2") is None
        assert found.find("record", "d1") is None
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("damage", ["draws.nc", "model.json", "groups"])
def test_a_damaged_run_counts_as_none(tmp_path, damage):
    folder = write(tmp_path / "run")
    if damage == "groups":
        model = json.loads((folder / "model.json").read_text())
        model["stages"]["posterior"]["groups"] = ["nothing"]
        (folder / "model.json").write_text(json.dumps(model))
    else:
        (folder / damage).write_bytes((folder / damage).read_bytes()[:100])
    with store.working(folder) as found:
        assert found.find("posterior", "d1") is None


HOLD = """
import sys
from brg_prob.store import working
with working(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_process_on_a_folder_is_told_so(tmp_path):
    folder = write(tmp_path / "run")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        for attempt in (lambda: write(folder, value=2.0), lambda: store.working(folder).__enter__()):
            with pytest.raises(
                store.StoreError, match=f"another brg-prob .process {other.pid}.; wait"
            ) as said:
                attempt()
            assert "\n" not in str(said.value)
        # reading goes on, and another folder is free
        assert store.read_run(folder).tree["posterior"]["f"].values[0] == 1.0
        write(tmp_path / "other")
    finally:
        other.communicate("")
    write(folder, value=3.0)
    assert store.read_run(folder).tree["posterior"]["f"].values[0] == 3.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]


def test_the_lock_is_the_last_that_is_removed(tmp_path, monkeypatch):
    """Were it gone before, a second process could take it, and lose it when the first one tidies up."""
    left, tidy = [], locks._tidy

    def spy(aside, made):
        left.append([path.name for path in aside.iterdir()])
        tidy(aside, made)

    monkeypatch.setattr(locks, "_tidy", spy)
    with store.working(tmp_path / "run") as desk:
        desk.keep("posterior", "d1", tree())
    assert left == [["lock"]]
    assert list(tmp_path.iterdir()) == []


def test_one_run_has_one_lock_by_whatever_name(tmp_path):
    folder = write(tmp_path / "run")
    (tmp_path / "link").symlink_to(folder)
    with locks.only_writer(folder) as aside:
        for name in (tmp_path / "link", folder / ".." / "run", tmp_path / "." / "run"):
            with locks.only_writer(name) as other:  # the same process may enter again
                assert other == aside


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    folder = tmp_path / "run"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    other.kill()
    other.communicate()
    write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
