"""Options read off the source: what a flag's text becomes, by the annotation of its field."""

from pathlib import Path

import pytest

from brg_prob.cli.arguments import read_model_source
from brg_prob.cli.request import parse_run
from brg_prob.options import Option, UsageError

MLP = str(Path(__file__).parents[2] / "models" / "mlp.py")


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("tuple[int, ...]", "64", (64,)),
        ("tuple[int, ...]", "64,32", (64, 32)),
        ("tuple[int, ...]", "(64, 32,)", (64, 32)),
        ("tuple[int, ...]", "()", ()),
        ("tuple[float, ...]", "1,2.5", (1.0, 2.5)),
        ("tuple[int, ...] | None", "none", None),
        ("int | None", "3", 3),
        ("bool", "No", False),
        ("str", "a,b", "a,b"),
        ("float | tuple[float, ...]", "2", 2.0),
        ("float | tuple[float, ...]", "2,1, 1", (2.0, 1.0, 1.0)),
        ("float | tuple[float, ...]", "(2,)", (2.0,)),
        ("float | tuple[float, ...] | None", "none", None),
        ("str | tuple[str, ...]", "relu", "relu"),
        ("str | tuple[str, ...]", "relu, tanh", ("relu", "tanh")),
        ("str | tuple[str, ...]", "two(1, 2),tanh", ("two(1, 2)", "tanh")),
        ("str | tuple[str, ...] | Spec | tuple[Spec, ...]", "leaky_relu(0.2)", "leaky_relu(0.2)"),
        ("str | tuple[str, ...] | Spec", "()", ()),
    ],
)
def test_text_is_read_by_its_annotation(annotation, text, value):
    found = Option("field", annotation, None).parse(text, "--model.field")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["", "a", "1;2", "1,,2", "1.5", "(1", "1)", "1,inf"])
def test_a_list_of_whole_numbers_holds_nothing_else(text):
    option = Option("widths", "tuple[int, ...]", "(256,)")
    with pytest.raises(UsageError, match="whole numbers"):
        option.parse(text, "--model.widths")


@pytest.mark.parametrize(
    ("annotation", "text", "said"),
    [
        ("float | tuple[float, ...]", "two", "not a number"),
        ("float | tuple[float, ...]", "2,x", "not a list of numbers"),
        ("float | tuple[float, ...]", "2,,1", "not a list of numbers"),
        ("str | tuple[str, ...]", "relu,,tanh", "not a list of names"),
    ],
)
def test_one_value_or_several_are_told_apart(annotation, text, said):
    with pytest.raises(UsageError, match=said):
        Option("field", annotation, None).parse(text, "--model.field")


def test_options_of_each_layer_are_flags():
    words = [MLP, "--model.widths", "8,4", "--model.activation", "relu,leaky_relu(0.1)"]
    words += ["--model.weight_variance", "2,1,1", "--model.bias_variance", "0.1", "--model.fan_in", "false"]
    words += ["--model.hidden_seed", "3", "--out", "nowhere/new"]
    assert parse_run(words).model.options == {
        "widths": (8, 4),
        "activation": ("relu", "leaky_relu(0.1)"),
        "weight_variance": (2.0, 1.0, 1.0),
        "bias_variance": 0.1,
        "fan_in": False,
        "hidden_seed": 3,
    }
    shown = {option.name: option.metavar for option in read_model_source(MLP).options}
    assert (shown["activation"], shown["weight_variance"], shown["hidden_seed"]) == ("NAME,…", "X,…", "N")


def test_widths_of_a_perceptron_are_a_flag():
    words = [MLP, "--model.widths", "8,4", "--out", "nowhere/new"]
    assert parse_run(words).model.options == {"widths": (8, 4)}
    assert {option.metavar for option in read_model_source(MLP).options} >= {"N,…", "X", "N"}


SAMPLES = "    numpyro.sample('y', d.Normal(0, 1), obs={})\n"
IMPORTED = "import numpyro\nimport numpyro.distributions as d\n"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        # what was understood before, whatever else there is now
        ("def net(x, y=None): ...\ndef helper(t, obs=None):\n" + SAMPLES.format("obs"), "net"),
        ("class Net:\n    def __call__(self, x, y=None): ...\ndef f(x): ...\n", "Net"),
        ("def model(a, b): ...\ndef net(x, y=None): ...\n", "model"),
        # whatever samples and has an argument for its observation, under any name of NumPyro
        ("def mass(flipper, species, body_mass=None):\n" + SAMPLES.format("body_mass"), "mass"),
        ("import numpyro as npr\ndef net(t, obs=None):\n    npr.factor('a', 1.0)\n", "net"),
        ("from numpyro import sample as s\ndef net(*, obs=None):\n    s('a', 1.0)\n", "net"),
        ("import numpyro.primitives\ndef net(obs=None):\n    numpyro.primitives.sample('a', 1)\n", "net"),
        ("from numpyro import primitives as p\ndef net(obs=None):\n    p.sample('a', 1)\n", "net"),
        ("def net(X, t, y):\n" + SAMPLES.format("y"), "net"),
        ("class Net:\n    def __call__(self, t, obs=None):\n    " + SAMPLES.format("obs"), "Net"),
        # an argument that need not be given says more than one called y
        ("def net(t, u=None):\n" + SAMPLES.format("u") + "def b(t, y):\n" + SAMPLES.format("y"), "net"),
        # helpers are no models: without an observation, private, or called by the model
        ("def prior(x):\n" + SAMPLES.format("1") + "def net(t, obs=None):\n    prior(t)\n", "net"),
        ("def _net(t, y=None):\n" + SAMPLES.format("y") + "def net(t, obs=None):\n    _net(t, obs)\n", "net"),
        ("def part(f, y=None):\n" + SAMPLES.format("y") + "def net(t, obs=None):\n    part(t, obs)\n", "net"),
        ("def prior(x, y):\n" + SAMPLES.format("1") + "def net(t, obs=None):\n    prior(t, 1)\n", "net"),
    ],
)
def test_the_only_model_of_a_file_is_found(source, name, tmp_path):
    (tmp_path / "net.py").write_text(IMPORTED + source)
    assert read_model_source(str(tmp_path / "net.py")).name == name


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def load(path, sep=None): ...\n", "has no model; define a function"),
        ("def prior(x):\n" + SAMPLES.format("1"), "has no model; define a function"),
        ("import random as r\ndef net(t, obs=None):\n    r.sample(t, 2)\n", "has no model"),
        (
            "def a(t, u=None):\n" + SAMPLES.format("u") + "def b(u=None):\n" + SAMPLES.format("u"),
            "a, b; choose",
        ),
    ],
)
def test_what_only_looks_like_a_model_is_none(source, said, tmp_path):
    (tmp_path / "net.py").write_text(IMPORTED + source)
    with pytest.raises(UsageError, match=said):
        read_model_source(str(tmp_path / "net.py"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("none", None),
        ("8, 4", (8, 4)),
        ("relu", "relu"),
        ("'8'", "8"),
        ("a,b", "a,b"),
    ],
)
def test_an_argument_is_set_by_a_literal(text, value, tmp_path):
    path = tmp_path / "net.py"
    path.write_text("def model(x, y=None, size=3, *, w): ...\n")
    found = parse_run([str(path), "--model.size", text, "--out", "nowhere/new"]).model.options["size"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["nan", "-inf", "1e999", "[1, 2]", "{'a': 1}", "1 + 2j"])
def test_what_no_argument_can_be_set_to_is_refused(text, tmp_path):
    path = tmp_path / "net.py"
    path.write_text("def model(x, y=None, size=3): ...\n")
    with pytest.raises(UsageError, match=r"--model.size .* is not a finite number, .* for example 3"):
        parse_run([str(path), "--model.size", text, "--out", "nowhere/new"])


def test_the_arguments_of_a_function_are_options_with_their_defaults_and_help(tmp_path, capsys):
    path = tmp_path / "net.py"
    path.write_text(
        "def model(J: int, flipper, sigma=0.5, body_mass=None):\n    '''A model.\n\n"
        "    Parameters\n    ----------\n    J\n        Number of schools. More.\n    '''\n"
    )
    options = read_model_source(str(path)).options
    assert [(o.name, o.default, o.metavar) for o in options] == [
        ("J", None, "N"),
        ("flipper", None, "VALUE"),
        ("sigma", "0.5", "VALUE"),
    ]
    with pytest.raises(SystemExit):
        parse_run([str(path), "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "--model.J N number of schools (required)",
        "--model.sigma VALUE argument sigma, where it is no column (default: 0.5)",
    ):
        assert text in shown
    with pytest.raises(UsageError, match=r"--model.J 'eight' is not a whole number"):
        parse_run([str(path), "--model.J", "eight", "--out", "nowhere/new"])
    with pytest.raises(UsageError, match=r"'--model.sigmas' is unknown; .*; did you mean 'sigma'\?"):
        parse_run([str(path), "--model.sigmas", "1", "--out", "nowhere/new"])


def test_what_the_text_of_a_file_does_not_tell_is_left_to_the_loaded_one(tmp_path):
    path = tmp_path / "net.py"
    for source in (
        "@decorated\ndef model(x, y=None): ...\n",
        "from functools import partial\nmodel = partial(print, 1)\n",
        "def model(x, y=None): ...\nmodel = other(model)\n",
        "from elsewhere import model\n",
    ):
        path.write_text(source)
        found = read_model_source(str(path))
        assert (found.options, found.signature) == (None, None)
    path.write_text("def model(x, y=None): ...\n")  # the control
    assert read_model_source(str(path)).signature.names == ("x", "y")
