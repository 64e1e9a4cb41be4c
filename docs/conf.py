"""Sphinx configuration: Markdown pages, and the reference from the docstrings (numpydoc)."""

import re
from importlib.metadata import version as installed_version

project = "brg_prob"
author = "The brg_prob developers"
release = version = installed_version("brg-prob")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autosummary_generate = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
html_theme = "furo"
html_title = "brg_prob"
exclude_patterns = ["_build"]


def _keep_moduli(app, what, name, obj, options, lines):
    """Escape the bars of |p| outside of literals: to reStructuredText they are a substitution."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[i] = "".join(part if part.startswith("``") else part.replace("|", r"\|") for part in parts)


def setup(app):
    app.connect("autodoc-process-docstring", _keep_moduli)
