"""The plotting library of the moving panels, Vega-Lite, as one script to stand inside a page."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from brg_prob.compiled import cache_folder
from brg_prob.files import put

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def vega_script() -> str:
    """Return the JavaScript that defines ``vegaEmbed``, with Vega and Vega-Lite inside.

    vl-convert carries these libraries and joins them in two seconds; the result is kept beside
    what jax compiles, under the version of vl-convert. Where that folder cannot be written, or
    what it holds is not whole, the script is made anew.
    """
    return _script(version("vl-convert-python"), cache_folder().parent)


@cache
def _script(release: str, folder: Path) -> str:
    """Return the script of a release, from the folder if it is there whole."""
    path = folder / f"vega-embed-{release}.js"
    with contextlib.suppress(OSError, ValueError):
        text = path.read_text(encoding="utf-8")
        if text.endswith(_ending(release)):
            return text
    text = _bundle(release)
    _keep(path, text)
    return text


def _bundle(release: str) -> str:
    """Return the script, its names kept to itself, fit for a script element."""
    import vl_convert

    text = f"(() => {{\n{vl_convert.javascript_bundle(_SNIPPET)}\n}})();\n{_ending(release)}"
    # inside strings and patterns, where alone they can occur, these mean the same
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _ending(release: str) -> str:
    """Return the last line: a file that ends otherwise was cut off."""
    return f"// vl-convert {release}\n"


def _keep(path: Path, text: str) -> None:
    """Write the script whole or not at all; a folder that cannot be written is left alone."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, text.encode(), over=True)
