"""The command line keeps what jax has compiled, so that a second run starts at once."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/brg_prob/jax``, by default in ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "brg_prob" / "jax"


def keep_compiled() -> None:
    """Switch on jax's persistent compilation cache, unless the user has set it up or has no such folder.

    A run compiles some two hundred small programs, which takes longer than running them; they
    fill about a megabyte, and the folder may be deleted at any time.
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off. Called by the command line only: the
    library never changes jax's configuration.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or not writable: compile anew each time
        return
    if not os.access(folder, os.W_OK):
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
