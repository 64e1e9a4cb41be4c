"""Stages of a run: what is finished is found again by its content.

While ``NAME`` is computed, each finished stage lies in ``.NAME.stages``, written aside and renamed, as
``STAGE.DIGEST.nc`` after the digest of all it was computed from. A run killed on the way starts from its
last finished stage; a finished run keeps the digests in ``model.json``, so that the next one with other
options computes only what these change. Nothing is trusted by name or date.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brg_prob.derived import with_derived, without_derived
from brg_prob.files import is_aside, is_plain, put, sha256_of
from brg_prob.store.locks import only_writer, real_path, refused, state_of
from brg_prob.store.packing import is_packed

if TYPE_CHECKING:  # loaded when a stage is read or written
    import xarray as xr

_DIGEST = "stage_digest"
_NAME = re.compile(r".+\.[0-9a-f]{16}\.nc")


class Stages:
    """The finished stages of one run folder, those of the run that stands there included.

    Made by :func:`working`; ``reused`` lists the stages that were found, in order.
    """

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self.folder = folder
        self.reused: list[str] = []
        self._aside = state_of(folder)
        self._written: list[Path] = []
        self._known = {} if fresh else _described(folder)
        self._fresh = fresh
        self._earlier: xr.DataTree | None = None

    def find(self, name: str, digest: str) -> xr.DataTree | None:
        """Return a finished stage with this digest, from a killed run or the one that stands there, or None.

        A file that cannot be read counts as none.
        """
        if self._fresh:
            return None
        found = self._from_killed(name, digest)
        if found is None:
            found = self._from_finished(name, digest)
        if found is not None:
            self.reused.append(name)
        return found

    def keep(self, name: str, digest: str, tree: xr.DataTree) -> None:
        """Keep a finished stage for a run that is killed later.

        Raises
        ------
        StoreError
            The disk refuses.
        """
        target = self._file(name, digest)
        stored = tree.copy()
        stored.attrs[_DIGEST] = digest
        try:
            put(target, tree_bytes(stored), over=True)  # the name is ours alone
        except OSError as error:
            raise refused(self.folder, error) from error
        self._written.append(target)

    @property
    def kept(self) -> str:
        """What a run that stops here leaves, in words."""
        if not self._written:
            return "nothing was written"
        return f"finished stages are kept in {str(self._aside)!r}; the same command goes on from there"

    def withdraw(self) -> None:
        """Remove what this process kept: the run was refused, and leaves nothing."""
        for path in self._written:
            path.unlink(missing_ok=True)

    def _file(self, name: str, digest: str) -> Path:
        """Return where a stage lies, under a name that nothing else has."""
        return self._aside / f"{name}.{hashlib.sha256(digest.encode()).hexdigest()[:16]}.nc"

    def _from_killed(self, name: str, digest: str) -> xr.DataTree | None:
        """Return a stage that a killed run left."""
        path = self._file(name, digest)
        tree = _read(path) if is_plain(path) else None
        if tree is None or tree.attrs.pop(_DIGEST, None) != digest:
            return None
        return tree

    def _from_finished(self, name: str, digest: str) -> xr.DataTree | None:
        """Return a stage of the run that stands in the folder."""
        known = self._known.get(name)
        if not isinstance(known, dict) or known.get("digest") != digest:
            return None
        if self._earlier is None:
            self._earlier = _read(self.folder / "draws.nc")
        try:
            assert self._earlier is not None
            found = _extracted(self._earlier, known)
            return None if is_packed(found) else found  # its numbers are no longer those that were computed
        except (AssertionError, KeyError, TypeError):  # damaged, or changed by hand
            return None


def described_stage(digest: str, tree: xr.DataTree, branch: str) -> dict[str, Any]:
    """Return how a stage is found again in a run's tree: its digest, branch, groups and root attributes."""
    return {"digest": digest, "branch": branch, "groups": list(tree.children), "attrs": dict(tree.attrs)}


def _extracted(tree: xr.DataTree, known: Mapping[str, Any]) -> xr.DataTree:
    """Return the part of a run's tree that one stage had made."""
    import xarray as xr

    branch = tree[known["branch"]] if known["branch"] else tree
    found = xr.DataTree.from_dict({name: branch[name].to_dataset() for name in known["groups"]})
    found.attrs.update(known["attrs"])
    return found


def _described(folder: Path) -> dict[str, Any]:
    """Return the stages that the ``model.json`` of the run in a folder names; none if it is damaged."""
    try:
        model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        stages, stated = model["stages"], model["files"]["draws.nc"]
        intact = sha256_of(folder / "draws.nc") == stated
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return stages if intact and isinstance(stages, dict) else {}


def tree_bytes(tree: xr.DataTree, encoding: Callable[[xr.DataTree], Any] | None = None) -> bytes:
    """Return a tree as the bytes of a netCDF4 file, without what follows from the rest.

    On a full disk HDF5's own writes can end the process with a segmentation fault; Python's raise OSError.
    """
    left = without_derived(tree)
    return bytes(left.to_netcdf(engine="h5netcdf", encoding=encoding(left) if encoding else None))


def _read(path: Path) -> xr.DataTree | None:
    """Return the tree in a file, loaded and closed, or None if it cannot be read."""
    import xarray as xr

    try:
        with xr.open_datatree(path, engine="h5netcdf") as stored:
            tree = stored.load()
    except Exception:  # a truncated file fails in many ways in HDF5; the stage is computed again
        return None
    for group in tree.subtree:  # numbers as they were before they were stored
        group.attrs = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in group.attrs.items()
        }
    return with_derived(tree)


@contextlib.contextmanager
def working(folder: Path, *, fresh: bool = False) -> Iterator[Stages]:
    """Work on a run folder, alone, with the stages that are finished.

    When the work is done the stages are removed (the run holds them). If it is refused
    (ValueError, TypeError), those it kept are removed; if it is interrupted, or fails in another
    way, they stay, and the exception says so.

    Parameters
    ----------
    folder
        The run folder.
    fresh
        Look for no finished stage.

    Raises
    ------
    StoreError
        Another process works on this folder, or the disk refuses.
    """
    folder = real_path(folder)
    with only_writer(folder) as aside:
        stages = Stages(folder, fresh=fresh)
        try:
            yield stages
        except (ValueError, TypeError):  # refused: bad input, or a disk that takes no more
            stages.withdraw()
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(stages.kept) from None
            error.add_note(stages.kept)
            raise
        with contextlib.suppress(OSError):
            for path in aside.iterdir():  # not the lock: another process would take it too early
                if is_aside(path) or (_NAME.fullmatch(path.name) and is_plain(path)):
                    os.unlink(path)
