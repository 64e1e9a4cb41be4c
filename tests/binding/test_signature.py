"""The arguments of a model: read off the callable and off its source, they are the same."""

import ast
import functools

import numpyro
import numpyro.distributions as dist
import pytest

from brg_prob.binding import Signature
from brg_prob.options import UsageError

SOURCES = {
    "x, y=None": ("x", "y", []),
    "X, t, group, y": ("X", "y", ["t", "group"]),
    "flipper, species, body_mass=None": (None, "body_mass", ["flipper", "species"]),
    "x, y=None, w=None": ("x", "y", ["w"]),
    "J, sigma, /, y=None": (None, "y", ["J", "sigma"]),
    "*, x, obs=None, scale=0.5": ("x", "obs", ["scale"]),
    "y=None": (None, "y", []),
    "x, u=None, v=None": ("x", None, ["u", "v"]),
    "x, obs": ("x", None, ["obs"]),
    "X, Y, D_H": ("X", "Y", ["D_H"]),
    "Y, height=None": (None, "height", ["Y"]),
    "x, *args, y=None, **rest": ("x", "y", []),
}


@pytest.mark.parametrize("text", SOURCES)
def test_a_source_says_what_its_function_says(text):
    stack, target, options = SOURCES[text]
    scope = {}
    exec(f"def model({text}): ...", scope)
    node = ast.parse(f"def model({text}): ...").body[0]
    of_text, of_function = Signature.of_source(node, "model"), Signature.of(scope["model"])
    assert of_text == of_function
    assert (of_text.stack, of_text.target(), [o.name for o in of_text.options]) == (stack, target, options)


def test_wrappers_are_seen_through():
    def model(J, x, y=None, w=None):
        numpyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    def decorator(function):
        @functools.wraps(function)
        def wrapped(*args, **options):
            return function(*args, **options)

        return wrapped

    plain = Signature.of(model).names
    assert Signature.of(decorator(model)).names == plain
    assert Signature.of(numpyro.handlers.block(model, hide=["y"])).names == plain
    half = Signature.of(functools.partial(model, J=8))
    assert [a.name for a in half.arguments if a.keyword_only] == ["J", "x", "y", "w"]
    assert [a.default for a in half.arguments] == ["8", None, "None", "None"]


def test_what_tells_nothing_is_called_with_x_and_y():
    def bare(*args, **options): ...

    for silent in (bare, numpyro.handlers.seed(rng_seed=0), max):
        found = Signature.of(silent)
        assert found.names == ("x", "y")
        assert found.positional == ("x", "y")
    assert Signature.of(lambda: None).names == ()  # the control: it takes nothing, and says so


def test_a_class_is_called_as_its_instances_are_and_its_fields_are_its_options():
    from models.hierarchical import Hierarchical

    class Net:
        def __call__(self, x, y=None, depth=2): ...

    assert Signature.of(Hierarchical).names == Signature.of(Hierarchical()).names == ("x", "y")
    assert Signature.of(Hierarchical).options == Signature.of(Hierarchical()).options == ()
    assert Signature.of(Net).names == ("x", "y", "depth")
    assert [option.name for option in Signature.of(Net()).options] == ["depth"]


def test_options_that_are_no_arguments_are_refused_with_the_nearest():
    signature = Signature.of(lambda x, schools, y=None: None, "model")
    with pytest.raises(UsageError, match=r"'--model.school' is unknown; .* did you mean 'schools'\?"):
        signature.check({"school": 8})
    for name in ("x", "y"):
        with pytest.raises(UsageError, match=f"'--model.{name}' is unknown; its options are schools"):
            signature.check({name: 1})
    with pytest.raises(UsageError, match="option schools is a list; give a number"):
        signature.check({"schools": [8]})
    with pytest.raises(UsageError, match=r"'--model.a' is unknown; it has no options"):
        Signature.of(lambda x, y=None: None).check({"a": 8})
    signature.check({"schools": 8})
