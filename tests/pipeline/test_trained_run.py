"""A run of trained networks, which are no posterior: no KL, no distance and no theory is claimed of them."""

import io

import jax
import numpy as np
import pytest
from rich.console import Console

import brg_prob
from brg_prob.cli.terminal.comparison_tables import print_comparison
from brg_prob.cli.terminal.run import print_result
from brg_prob.report.html import render_report
from models.cosnet import CosNet

X = np.arange(20)[:, None] / 4.0
OPTIONS = {"key": jax.random.key(0), "draws": 200, "scales": 3, "second": None}


@pytest.fixture(scope="module")
def runs():
    """Return runs by two engines."""
    network, y = CosNet(box=5.0, cutoff=6.0), np.sin(X[:, 0])
    engines = {"posterior": brg_prob.Exact(), "trained": brg_prob.GradientFlow()}
    return {name: brg_prob.run(network, X, y, engine=engine, **OPTIONS) for name, engine in engines.items()}


def said(show, *arguments):
    """Return what is printed in the terminal."""
    out = io.StringIO()
    show(*arguments, console=Console(file=out, width=100))
    return out.getvalue()


@pytest.mark.parametrize("name", ["posterior", "trained"])
def test_kl_is_claimed_of_a_posterior_alone(runs, name, tmp_path):
    run, law = runs[name], name == "posterior"
    assert [kl is not None for kl in run.summary["flow"]["kl_to_prior"]] == [law] * 3
    attrs = run.tree["flow"].attrs
    assert attrs["kl_from"] == ("law" if law else "none")
    assert ("trained networks" in attrs.get("no_kl", "")) != law
    theory = run.tree["field_theory"].sel(state="posterior")
    for distance in ("kl_to_prior", "wasserstein"):
        assert np.isfinite(theory[distance]) == law
    page = render_report(run)
    assert ("not draws of a posterior" in page) != law
    assert ("relative entropy of posterior to prior" in page) == law
    assert "– nats" not in page
    # what the first lines of the terminal and of a comparison say
    assert (" KL " in said(print_result, run, tmp_path)) == law
    comparison = said(print_comparison, brg_prob.compare({name: run}), None)
    assert ("The posterior is KL = " in comparison) == law
