"""``brg-prob new``: copy one of the networks that come with this package, as a file to start from.

The copy imports nothing but public rooms of ``brg_prob``, so it runs wherever the package is installed.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from brg_prob.cli.arguments import HERE
from brg_prob.files import put
from brg_prob.options import UsageError, nearest


def network_files() -> dict[str, Path]:
    """Return the networks that can be copied, name → file: those of the wheel, else those of the checkout."""
    shipped = HERE / "networks"
    # Beside an installed package a folder called "models" is somebody else's.
    checkout = HERE.parent / "models" if (HERE.parent / "pyproject.toml").is_file() else None
    folder = shipped if shipped.is_dir() else checkout
    if folder is None or not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def copy_network(name: str, target: Path) -> Path:
    """Copy a network to a file that does not exist yet, and return its path.

    Parameters
    ----------
    name
        ``cosnet``, ``mlp``, …
    target
        A file that ends in ``.py``, or a folder in which it shall be ``NAME.py``.

    Raises
    ------
    brg_prob.cli.arguments.UsageError
        Unknown network, a file that exists or does not end in ``.py``, no such folder, or the disk
        refuses; nothing is written then.
    """
    known = network_files()
    if name not in known:
        has = f"use {' or '.join(known)}" if known else "this installation ships none"
        raise UsageError(f"network {name!r} is unknown; {has}{nearest(name.lower(), known)}")
    target = Path(target)
    if target.is_dir():
        target = target / f"{name}.py"
    _check(target)
    original = known[name].read_bytes()
    try:
        put(target, _header(name, original, target).encode() + original)
    except OSError as error:
        raise UsageError(
            f"cannot write {str(target)!r}: {error.strerror or error}; free space or choose another path"
        ) from error
    return target


def _check(target: Path) -> None:
    """Refuse a target that a network cannot be copied to."""
    if target.suffix != ".py":
        raise UsageError(f"{str(target)!r} does not end in .py; give a path such as my_network.py")
    if target.exists() or target.is_symlink():
        raise UsageError(f"{str(target)!r} exists and is not overwritten; choose another path or remove it")
    if not target.parent.is_dir():
        raise UsageError(
            f"no folder {str(target.parent)!r} to put {target.name!r} in; create it or choose another path"
        )


def _header(name: str, original: bytes, target: Path) -> str:
    """Return the comment at the top of the copy: where it came from and how to run it."""
    from brg_prob import __version__

    digest = hashlib.sha256(original).hexdigest()[:12]
    # a name with a line break in it would end the comment
    file = shlex.quote(target.name) if target.name.isprintable() else "THIS_FILE.py"
    return (
        f"# A copy of the network {name!r} of brg_prob {__version__} (SHA-256 {digest}…), yours to change.\n"
        f"#   brg-prob run {file}          train it, flow it back, read the report\n"
        f"#   brg-prob run {file} --help   its options: the fields of its dataclass\n"
        "# SPDX-License-Identifier: Apache-2.0\n\n"
    )
