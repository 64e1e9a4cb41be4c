"""Options read off the source: what a flag's text becomes, by the annotation of its field."""

from pathlib import Path

import pytest

from brg_prob.arguments import read_model_source
from brg_prob.options import Option, UsageError
from brg_prob.request import parse_run

MLP = str(Path(__file__).parents[1] / "models" / "mlp.py")


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
