"""Pictures as SVG inside a page: text stays text, colours follow the page's light or dark theme.

matplotlib writes every style out at every marker and a group around every tick. What is kept here looks the
same and is a third of it; drawing costs one layout and one pass, where ``savefig`` takes three of each.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.figure import Figure

from brg_prob.figures.style import THEME, Picture

_STYLE = re.compile(r' style="([^"]*)"')
_MARKERS = re.compile(r'<g( clip-path="[^"]*")?>((?:<use [^>]*/>)+)</g>')
_STROKES = re.compile(
    r'<path d="[^"]*"((?: clip-path="[^"]*")? style="[^"]*\bfill:none[^"]*")/>(?:<path d="[^"]*"\1/>)+'
)


def svg(picture: Picture) -> str:
    """Return a picture as an SVG element to stand inside an HTML page.

    Text stays text (searchable, in the page's font), colours are CSS variables, identifiers
    are unique per picture, and nothing refers to anything outside the page. Coordinates have two
    decimals of a point.
    """
    text = _drawn(picture.figure, picture.name)
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">") + 1 : text.rindex("</svg>")]
    body = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r">\s+<", "><", body).strip().replace("<defs></defs>", "")
    # from here on what looks like an attribute is one
    body = re.sub(r'>[^<>]*"[^<>]*<', lambda found: found.group().replace('"', "&quot;"), body)
    body = _short_coordinates(body)
    body = _STYLE.sub(_themed(), body)
    body = _MARKERS.sub(_together, body)
    body = _STROKES.sub(_one_path, body)
    body = _own_identifiers(body, picture.name)
    size = box.group() if box else ""
    return f'<svg {size} stroke-linejoin="round" aria-hidden="true" focusable="false">{body}</svg>'


class _Renderer(RendererSVG):
    """matplotlib's, without a group around each artist."""

    def open_group(self, s: str, gid: str | None = None) -> None:
        """Leave the group out."""

    def close_group(self, s: str) -> None:
        """Leave the group out."""


class _Canvas(FigureCanvasSVG):
    """A canvas on which the renderer that draws also measures: each text is measured once."""

    renderer: RendererSVG

    def get_renderer(self) -> RendererSVG:
        """Return the renderer that the layout is to be made with."""
        return self.renderer


def _drawn(figure: Figure, salt: str) -> str:
    """Return what matplotlib writes, the figure being laid out once and left as it was otherwise."""
    buffer = io.StringIO()
    canvas, dots, engine = figure.canvas, figure.dpi, figure.get_layout_engine()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # text stays text: the reader's fonts draw it, whatever matplotlib's own can
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        try:
            figure.set_dpi(72)  # points
            width, height = 72 * figure.get_size_inches()
            own = _Canvas(figure)
            own.renderer = _Renderer(width, height, buffer, metadata={"Date": None, "Creator": None})
            if engine is not None:
                engine.execute(figure)
            figure.set_layout_engine("none")
            figure.draw(own.renderer)
            own.renderer.finalize()
        finally:
            figure.set_layout_engine(engine)
            figure.set_dpi(dots)
            figure.set_canvas(canvas)
    return buffer.getvalue()


def _short_coordinates(body: str) -> str:
    """Cut coordinates to two decimals, write paths without blanks, drop rotations by nothing."""
    body = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", body)
    body = re.sub(r'( [xy]="-?\d+\.\d\d)\d+', r"\1", body)
    return re.sub(r' d="([^"]*)"', _short_path, body)


def _short_path(found: re.Match[str]) -> str:
    """Return a path with two decimals and no blanks."""
    path = re.sub(r"(\.\d\d)\d+", r"\1", found.group(1))
    path = re.sub(r"\s*([A-Za-z])\s*", r"\1", path).strip()
    return f' d="{re.sub(r"\s+", ",", path)}"'


def _themed() -> Callable[[re.Match[str]], str]:
    """Return what rewrites a style: colours of the theme as variables, the page's font, no blanks."""
    known: dict[str, str] = {}

    def rewrite(found: re.Match[str]) -> str:
        text = found.group(1)
        if text not in known:
            style = re.sub(r"#[0-9a-fA-F]{6}\b", lambda c: THEME.get(c.group().lower(), c.group()), text)
            style = re.sub(r"(font: [^;]*?[\d.]+px) [^;]*", r"\1 var(--sans)", style)
            style = re.sub(r"font-family: [^;]*(; )?", "", style)
            known[text] = f' style="{re.sub(r"([:;]) ", r"\1", style)}"'
        return known[text]

    return rewrite


def _together(found: re.Match[str]) -> str:
    """Return markers of one style as a group that has it; a single one without a group."""
    clip, uses = found.group(1) or "", found.group(2)
    styles = set(_STYLE.findall(uses))
    if len(styles) > 1 or any(re.search(r"(^|;)opacity:", style) for style in styles):
        return found.group()  # a group's opacity is not that of each marker
    if uses.count("<use ") == 1 and not clip:
        return uses
    return f'<g{clip} style="{styles.pop() if styles else ""}">{_STYLE.sub("", uses)}</g>'


def _one_path(found: re.Match[str]) -> str:
    """Return strokes of one style as a single path, unless they are translucent and might overlap."""
    if "opacity" in found.group(1):
        return found.group()
    return f'<path d="{"".join(re.findall(r" d=\"([^\"]*)\"", found.group()))}"{found.group(1)}/>'


def _own_identifiers(body: str, name: str) -> str:
    """Keep the identifiers that are referred to, short and prefixed: several pictures stand in one page."""
    referred = dict.fromkeys(re.findall(r'(?:"url\(|href=")#([^")]+)', body))
    own = {old: f"{name}-{number}" for number, old in enumerate(referred, start=1)}
    body = re.sub(r' id="([^"]*)"', lambda f: f' id="{own[f[1]]}"' if f[1] in own else "", body)
    body = re.sub(r'"url\(#([^")]+)\)', lambda f: f'"url(#{own[f[1]]})', body)
    return re.sub(r'(?:xlink:)?href="#([^"]+)"', lambda f: f'href="#{own[f[1]]}"', body)
