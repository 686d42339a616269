"""Attribute texts of ten years of Python, read as one value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxface.errors import GraphError
from mxface.ops import OPS
from mxface.ops.params import (
    choice,
    is_hidden,
    optional,
    parse_bool,
    parse_float,
    parse_int,
    parse_ints,
    parse_optional_ints,
)


@pytest.mark.parametrize("text", ["(3, 3)", "(3,3)", "[3, 3]", "(3L, 3L)", " ( 3 ,3 ) ", "3,3"])
def test_every_spelling_of_a_tuple(text: str) -> None:
    assert parse_ints(text) == (3, 3)


@pytest.mark.parametrize(("text", "value"), [("()", ()), ("[]", ()), ("(2,)", (2,)), ("7", (7,)), ("(0, -1)", (0, -1))])
def test_short_tuples(text: str, value: tuple[int, ...]) -> None:
    assert parse_ints(text) == value


@given(st.lists(st.integers(-(2**40), 2**40), max_size=8))
def test_tuples_and_lists_are_read_back(values: list[int]) -> None:
    assert parse_ints(str(tuple(values))) == tuple(values)
    assert parse_ints(str(values)) == tuple(values)


@given(st.lists(st.none() | st.integers(-1000, 1000), max_size=6))
def test_tuples_with_none_are_read_back(values: list[int | None]) -> None:
    assert parse_optional_ints(str(tuple(values))) == tuple(values)


@given(st.floats(allow_nan=False))
def test_floats_are_read_back(value: float) -> None:
    assert parse_float(str(value)) == value


@given(st.integers())
def test_integers_are_read_back_with_and_without_python_2s_l(value: int) -> None:
    assert parse_int(str(value)) == parse_int(f"{value}L") == value


@pytest.mark.parametrize(("text", "value"), [("True", True), ("1", True), ("False", False), ("0", False)])
def test_bools(text: str, value: bool) -> None:
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["", "yes", "2", "None"])
def test_words_that_are_no_bool(text: str) -> None:
    with pytest.raises(ValueError, match="neither True nor False"):
        parse_bool(text)


@pytest.mark.parametrize("text", ["yes", "(3, 3", "(3, 3]", "3.5", "(a, b)", "(1,,2)", "(None, 1)"])
def test_words_that_are_no_tuple(text: str) -> None:
    with pytest.raises(ValueError):
        parse_ints(text)


def test_none_only_where_it_is_allowed() -> None:
    assert optional(parse_int)("None") is None
    assert optional(parse_int)("3") == 3
    with pytest.raises(ValueError):
        parse_int("None")


def test_a_word_outside_the_choice_lists_the_choice() -> None:
    with pytest.raises(ValueError, match="'median' is not one of max, avg"):
        choice("max", "avg")("median")


@pytest.mark.parametrize(
    ("key", "hidden"), [("__lr_mult__", True), ("__init__", True), ("lr_mult", False), ("_x", False)]
)
def test_hidden_attributes(key: str, hidden: bool) -> None:
    assert is_hidden(key) is hidden


def test_defaults_are_filled_in_and_windows_completed() -> None:
    params = OPS["Convolution"].parse({"kernel": "(3,3)", "num_filter": "8", "__lr_mult__": "0.1"})
    assert params["stride"] == params["dilate"] == (1, 1)
    assert params["pad"] == (0, 0)
    assert params["no_bias"] is False
    assert "__lr_mult__" not in params


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"kernel": "(3, 3)"}, "Convolution needs the parameter num_filter"),
        ({"kernel": "3x3", "num_filter": "8"}, "Convolution: cannot read kernel='3x3'"),
        (
            {"kernel": "(3, 3)", "num_filter": "8", "padding": "1"},
            "Convolution has no parameter padding; it has kernel,",
        ),
    ],
)
def test_bad_attributes_are_named(attrs: dict[str, str], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        OPS["Convolution"].parse(attrs)
