"""A small run, what a user might put into its folder, and what a folder holds: for tests of run folders."""

import os

import numpy as np
import xarray as xr

from brg_prob import files, store

MODEL = {"file": "net.py", "name": "Net", "source": "x", "sha256": "0" * 64}
TREE = xr.DataTree.from_dict({"/flow": xr.Dataset({"scale": ("scale", np.arange(3.0))})})
OURS = {"model.json", "draws.nc", "summary.json", "report.html"}
HEAD = files.PAGE_SEAL + b"0" * 64 + b'">\n'


def page(mark):
    return files.sealed(HEAD + mark.encode(), files.PAGE_SEAL).decode()


def write(folder, mark):
    return store.write_run(
        folder, tree=TREE, summary={"mark": mark}, model=MODEL, pages={"report.html": page(mark)}
    )


def mark(folder):
    """The mark that every file of the run in a folder agrees on."""
    found = store.read_run(folder).summary["mark"]
    assert (folder / "report.html").read_text() == page(found)
    return found


def listed(folder):
    """All below a folder by its path: links as links, files by content and permissions; none is followed."""
    return {str(path.relative_to(folder)): described(path) for path in sorted(folder.rglob("*"))}


def described(path):
    if path.is_symlink():
        return "link", os.readlink(path)
    return "folder" if path.is_dir() else (path.read_bytes(), path.stat().st_mode)


def furnish(folder):
    """Put into a run what a user might; return it as it must be found in the next run: name → what."""
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden").write_text("mine, too")
    (folder / "empty").mkdir()
    (folder / "plots" / "deep").mkdir(parents=True)
    (folder / "plots" / "deep" / "figure.png").write_bytes(b"\x89PNG")
    (folder / "draws").symlink_to("draws.nc")
    (folder / "outside").symlink_to(folder.parent / "elsewhere")
    (folder / "gone").symlink_to("nowhere")
    (folder / "read only.txt").write_text("final")
    (folder / "read only.txt").chmod(0o444)
    (folder / "page.html").write_text(page("a page of ours under another name"))
    mine = {name: what for name, what in listed(folder).items() if name.split("/")[0] not in OURS}
    with (folder / "report.html").open("a") as report:  # one file of the run is changed
        report.write("<p>my remark</p>")
    return mine | {"report.kept-1.html": described(folder / "report.html")}


def of_the_user(folder):
    """What in a run folder does not have the name of a file of the run."""
    return {name: what for name, what in listed(folder).items() if name not in OURS}


def place(folder, name):
    return folder.with_name(f".{folder.name}.stages") / name
