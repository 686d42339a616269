"""Every operator, whatever is registered."""

from __future__ import annotations

import pytest
from tests.ops.examples import EXAMPLES, Example

from mxface.errors import GraphError, UnsupportedOperatorError
from mxface.graph import symbol_from_json
from mxface.ops import FUNCTIONS, OPS, OpSpec, find_operator, register
from mxface.ops.shapes import same_shape


def example_name(example: Example) -> str:
    return f"{example.op}-{EXAMPLES.index(example)}"


def test_every_operator_has_an_example() -> None:
    assert {example.op for example in EXAMPLES} == set(OPS)


@pytest.mark.parametrize("example", EXAMPLES, ids=example_name)
def test_shapes_follow(example: Example) -> None:
    symbol = example.symbol()
    arguments, outputs, states = symbol.infer_shape(**example.input_shapes)
    inferred = {**arguments, **states}
    assert outputs == list(example.outputs)
    assert {name: shape for name, shape in inferred.items() if name.startswith("node_")} == example.inferred


@pytest.mark.parametrize("example", EXAMPLES, ids=example_name)
def test_a_node_survives_its_json(example: Example) -> None:
    symbol = example.symbol()
    again = symbol_from_json(symbol.to_json_graph())
    assert again.tojson() == symbol.tojson()
    assert again.list_outputs() == symbol.list_outputs()


@pytest.mark.parametrize("name", sorted(OPS))
def test_an_operator_is_found_by_all_its_names(name: str) -> None:
    spec = OPS[name]
    assert spec.name == name
    for function in (name, *spec.functions):
        assert FUNCTIONS[function] is find_operator(function) is spec


@pytest.mark.parametrize("name", sorted(OPS))
def test_auxiliary_states_and_initialised_inputs_are_slots(name: str) -> None:
    spec = OPS[name]
    assert set(spec.aux) | set(spec.initializers) <= {*spec.slots, "arg1"}
    assert spec.slots[len(spec.slots) - len(spec.aux) :] == spec.aux


@pytest.mark.parametrize("name", sorted(OPS))
def test_parameters_that_do_not_exist_are_refused(name: str) -> None:
    with pytest.raises(GraphError, match=f"{name} has no parameter colour"):
        OPS[name].parse({"colour": "red"})


def test_a_name_is_registered_once() -> None:
    with pytest.raises(GraphError, match="_Plus is registered twice, for elemwise_add and plus"):
        register(OpSpec(name="plus", functions=("_Plus",), infer_shape=same_shape))
    assert "plus" not in OPS


def test_an_unknown_operator_is_refused_with_what_there_is() -> None:
    with pytest.raises(
        UnsupportedOperatorError, match=r"operator Correlation \(node 'loss'\) is not supported; .*BatchNorm"
    ):
        find_operator("Correlation", "loss")
