"""The command line's compilation cache: where it lies, and when it stays away."""

import subprocess
import sys

from brg_prob import compiled

_CODE = """
import jax
from brg_prob.compiled import keep_compiled
keep_compiled()
jax.jit(lambda x: x * 3.7 + 1)(2.0).block_until_ready()
print(jax.config.jax_compilation_cache_dir)
"""


def _run(environment):
    found = subprocess.run(
        [sys.executable, "-c", _CODE], env=environment, capture_output=True, text=True, check=True
    )
    return found.stdout.strip(), found.stderr


def test_programs_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "brg_prob" / "jax"
    assert compiled.cache_folder() == folder
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    assert _run(environment) == (str(folder), "")
    kept = {file.name for file in folder.iterdir()}
    assert kept
    assert _run(environment) == (str(folder), "")
    assert {file.name for file in folder.iterdir() if file.name.endswith("-cache")} <= kept


def test_a_folder_of_the_users_own_wins_and_no_home_is_no_error(tmp_path):
    own = tmp_path / "own"
    environment = {"JAX_COMPILATION_CACHE_DIR": str(own), "XDG_CACHE_HOME": str(tmp_path)}
    assert _run(environment)[0] == str(own)
    assert not (tmp_path / "brg_prob").exists()
    (tmp_path / "file").write_text("not a folder")
    assert _run({"XDG_CACHE_HOME": str(tmp_path / "file")}) == ("None", "")
