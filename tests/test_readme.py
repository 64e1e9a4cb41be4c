"""The README's Python runs as printed."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np

from brg_prob.network import Conditioned

ROOT = Path(__file__).resolve().parents[1]


def block(beginning):
    """Return the one block of Python that begins so."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```python\n({beginning}.*?)```", text, flags=re.S)
    return code


def test_the_model_of_one_s_own_is_one():
    space = {}
    exec(compile(block("# mymodel.py"), "README.md", "exec"), space)
    found = Conditioned.of(space["model"], np.ones((3, 2)), np.array([0.0, 1.0, 1.0]))
    assert found.names == ("w", "b")
    at_zero = {"w": np.zeros(2), "b": 0.0}
    np.testing.assert_allclose(found.log_likelihood(at_zero)["y"], np.log(0.5), rtol=1e-6)


def test_ten_lines_of_python_run_and_are_consistent():
    code = block("import jax, brg_prob")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue().startswith("consistent")


def test_every_file_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
