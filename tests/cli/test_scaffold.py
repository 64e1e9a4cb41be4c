"""``brg-prob new``: the copy runs, says where it came from, and never replaces anything."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from brg_prob.cli import scaffold
from brg_prob.cli.arguments import read_model_source
from brg_prob.options import UsageError

MODELS = Path(__file__).parents[2] / "models"
NETWORKS = {"cosnet": ("CosNet", "box"), "mlp": ("Mlp", "widths")}


def refused(name, target):
    """Return the one line with which a copy is refused, after checking that nothing was written."""
    before = sorted(Path(target).parent.rglob("*")) if Path(target).parent.is_dir() else []
    with pytest.raises(UsageError) as caught:
        scaffold.copy_network(name, target)
    assert "\n" not in str(caught.value)
    assert (sorted(Path(target).parent.rglob("*")) if Path(target).parent.is_dir() else []) == before
    return str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_copy_is_a_network_that_loads_and_shows_its_options(name, tmp_path):
    from brg_prob.cli.loading.module import build_network, load_module

    path = scaffold.copy_network(name, tmp_path / "mein Netz é.py")
    class_name, option = NETWORKS[name]
    source = read_model_source(str(path))
    assert source.name == class_name
    assert option in [each.name for each in source.options]
    original = read_model_source(str(MODELS / f"{name}.py"))
    assert source.options == original.options
    options = {"box": 10.0} if name == "cosnet" else {}
    copied, first = (
        build_network(source, load_module(file), options) for file in (path, MODELS / f"{name}.py")
    )
    assert type(copied) is not type(first)
    x = np.linspace(0, 3, 4)[:, None]
    features = [net.features(x, net.sample_hidden(jax.random.key(0))) for net in (copied, first)]
    np.testing.assert_array_equal(*features)


def test_the_copy_says_where_it_came_from_and_how_to_run_it(tmp_path):
    path = scaffold.copy_network("cosnet", tmp_path / "my net.py")
    original = (MODELS / "cosnet.py").read_bytes()
    text = path.read_bytes()
    assert text.endswith(original)
    header = text[: -len(original)].decode()
    assert all(line.startswith("#") for line in header.strip().splitlines())
    assert hashlib.sha256(original).hexdigest()[:12] in header
    assert "brg-prob run 'my net.py' " in header
    assert [entry.name for entry in tmp_path.iterdir()] == ["my net.py"]


def test_a_folder_takes_the_networks_own_name(tmp_path):
    assert scaffold.copy_network("mlp", tmp_path) == tmp_path / "mlp.py"


def test_the_wheels_networks_come_first(tmp_path, monkeypatch):
    (tmp_path / "brg_prob" / "networks").mkdir(parents=True)
    monkeypatch.setattr(scaffold, "HERE", tmp_path / "brg_prob")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "other.py").write_text("")
    (tmp_path / "brg_prob" / "networks" / "own.py").write_text("x = 1\n")
    (tmp_path / "brg_prob" / "networks" / "_hidden.py").write_text("")
    assert list(scaffold.network_files()) == ["own"]
    (tmp_path / "brg_prob" / "networks" / "own.py").unlink()
    (tmp_path / "brg_prob" / "networks" / "_hidden.py").unlink()
    (tmp_path / "brg_prob" / "networks").rmdir()
    # beside an installed package, "models" is somebody else's
    assert scaffold.network_files() == {}
    assert "ships none" in refused("cosnet", tmp_path / "a.py")
    (tmp_path / "pyproject.toml").write_text("")
    assert list(scaffold.network_files()) == ["other"]


@pytest.mark.parametrize(
    ("name", "target", "value", "remedy"),
    [
        ("cosnt", "a.py", "'cosnt'", "did you mean 'cosnet'?"),
        ("../cosnet", "a.py", "'../cosnet'", "use bnn or cosnet or hierarchical"),
        ("cosnet", "a.txt", "a.txt", "does not end in .py"),
        ("cosnet", "nowhere/a.py", "nowhere", "create it"),
        ("cosnet", "mine.py", "mine.py", "choose another path"),
        ("cosnet", "dangling.py", "dangling.py", "choose another path"),
        ("cosnet", "mine.py/a.py", "mine.py", "create it"),
    ],
)
def test_what_cannot_be_copied_is_one_line(name, target, value, remedy, tmp_path):
    (tmp_path / "mine.py").write_text("years of work")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "gone")
    message = refused(name, tmp_path / target)
    assert value in message
    assert remedy in message
    assert (tmp_path / "mine.py").read_text() == "years of work"


@pytest.mark.parametrize("refusing", ["write", "rename"])
def test_a_full_disk_leaves_nothing(refusing, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, refusing, full)
    monkeypatch.setattr(os, "link", full)  # then the rename is tried
    assert "No space left on device; free space" in refused("cosnet", tmp_path / "a.py")


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(scaffold, "_check", lambda target: target.write_text("someone else's"))
    with pytest.raises(UsageError, match="File exists"):
        scaffold.copy_network("cosnet", tmp_path / "a.py")
    assert (tmp_path / "a.py").read_text() == "someone else's"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.py"]


def test_a_name_cannot_break_out_of_the_header(tmp_path):
    path = scaffold.copy_network("mlp", tmp_path / "a\nraise SystemExit\n#.py")
    assert "SystemExit" not in path.read_text(encoding="utf-8")[:400]


def test_copying_needs_no_jax(tmp_path):
    code = (
        "import sys; from pathlib import Path; from brg_prob.cli.scaffold import copy_network;"
        f"copy_network('cosnet', Path({str(tmp_path / 'a.py')!r})); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
