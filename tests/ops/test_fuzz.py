"""Whatever a file says of a node: it has shapes, or a GraphError says why not. No other error, no empty array."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.examples import EXAMPLES

from mxface.errors import GraphError
from mxface.graph import Variable
from mxface.graph.symbol import apply_operator
from mxface.ops import OPS

NUMBERS = st.sampled_from(["0", "1", "2", "3", "7", "-1", "-2", "-3", "-4", "None", "99999999999", "nan"])
TUPLES = st.lists(NUMBERS, max_size=5).map(lambda words: f"({', '.join(words)})")
TEXTS = NUMBERS | TUPLES | st.sampled_from(["", "True", "False", "max", "full", "(", "NHWC", "prelu"])
SHAPES = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple)


@st.composite
def nodes(draw: st.DrawFn) -> tuple[str, dict[str, Any], list[tuple[int, ...]]]:
    """An example with some of its attributes and shapes replaced by others, sensible or not."""
    example = draw(st.sampled_from(EXAMPLES))
    attrs = {key: str(value) for key, value in example.attrs.items()}
    parameters = sorted(OPS[example.op].params)
    if parameters:
        attrs.update(draw(st.dictionaries(st.sampled_from(parameters), TEXTS, max_size=2)))
    shapes = [draw(st.just(shape) | SHAPES) for shape in example.inputs]
    return example.op, attrs, shapes


@settings(max_examples=500, deadline=None)
@given(nodes())
def test_shapes_or_a_reason(node: tuple[str, dict[str, Any], list[tuple[int, ...]]]) -> None:
    op, attrs, shapes = node
    inputs = {f"in{i}": shape for i, shape in enumerate(shapes)}
    try:
        symbol = apply_operator(op, *map(Variable, inputs), attr=attrs, name="node")
        arguments, outputs, states = symbol.infer_shape(**inputs)
    except GraphError as error:
        assert "node" in str(error)
        return
    for shape in (*arguments.values(), *outputs, *states.values()):
        assert shape
        assert min(shape) > 0
