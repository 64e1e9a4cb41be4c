"""Names along axes of latent sites: given where the likelihood says so, never for equal length alone."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob.network import Conditioned
from brg_prob.network.columns import axis_names
from brg_prob.network.labels import coordinate_labels

RNG = np.random.default_rng(5)
X = np.column_stack([RNG.normal(size=(12, 2)), np.arange(12) % 3])
Y = RNG.normal(size=12)
COLUMNS = {0: "dose", 1: "age"}
LEVELS = {2: ("dwarf", "giant", "middling")}


def normal(name, *shape):
    return numpyro.sample(name, dist.Normal(0, 1).expand(shape).to_event(len(shape)))


def observe(mean, y):
    numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def linear(x, y=None):
    w, v = normal("w", 2), normal("v", 2)
    hidden = jnp.tanh(x[:, :2] @ normal("layer", 2, 4))
    observe(x[:, :2] @ w + hidden.sum(axis=1) + v[0] + v[1] * x[:, 0], y)


def turned(x, y=None):
    w = normal("w", 2)
    observe(x[:, :2] @ jnp.array([[1.0, 0.5], [-0.5, 1.0]]) @ w, y)


def swapped(x, y=None):
    w = normal("w", 2)
    observe(x[:, 0] * w[1] + x[:, 1] * w[0], y)


def groups(x, y=None):
    code = x[:, 2].astype(int)
    a, b = normal("a", 3), normal("b", 3)
    observe(a[code] + b.sum() * x[:, 0] * jnp.ones(3)[code], y)


def counted(x, y=None):
    """The same where the number of groups is counted, which no traced code can be."""
    code = np.asarray(x)[:, 2].astype(int)
    a, w = normal("a", code.max() + 1), normal("w", 2)
    observe(a[code] + x[:, :2] @ w, y)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (linear, {"w": {0: ("dose", "age")}, "layer": {0: ("dose", "age")}}),
        (turned, {}),  # as long as the columns, but each entry acts through both
        (swapped, {}),
        (counted, {"a": {0: LEVELS[2]}, "w": {0: ("dose", "age")}}),
        (groups, {"a": {0: LEVELS[2]}}),  # b is as long, and acts everywhere
    ],
)
def test_only_entries_that_act_through_one_column_or_level_are_named(model, expected):
    assert axis_names(Conditioned.of(model, X, Y), COLUMNS, LEVELS) == expected


def test_coordinates_carry_the_names():
    names = {"layer": {0: ("dose", "age")}}
    assert coordinate_labels({"layer": (2, 2)}, names)[2] == "layer[age,0]"
    assert coordinate_labels({"layer": (1, 2)}, names) == ("layer[0,0]", "layer[0,1]")
