"""Options read off the source: what a flag's text becomes, by the annotation of its field."""

from pathlib import Path

import pytest

from brg_prob.arguments import Option, UsageError, read_model_source
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


def test_widths_of_a_perceptron_are_a_flag():
    words = [MLP, "--model.widths", "8,4", "--out", "nowhere/new"]
    assert parse_run(words).model.options == {"widths": (8, 4)}
    assert {option.metavar for option in read_model_source(MLP).options} >= {"N,…", "X", "N"}
