"""What a symbol can be asked."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest

from mxface.errors import GraphError
from mxface.graph import Group, Symbol, Variable, sym


def small_network() -> Symbol:
    body = sym.Convolution(Variable("data"), num_filter=2, kernel=(3, 3), name="conv")
    body = sym.Activation(sym.BatchNorm(body, name="bn"), act_type="relu", name="act")
    return sym.FullyConnected(body, num_hidden=3, name="fc")


def deep_network(depth: int) -> Symbol:
    body = Variable("data")
    for index in range(depth):
        body = sym.Activation(body, act_type="relu", name=f"act{index}")
    return body


def test_lists() -> None:
    net = small_network()
    assert net.name == "fc"
    assert net.list_outputs() == ["fc_output"]
    assert net.list_arguments() == [
        "data",
        "conv_weight",
        "conv_bias",
        "bn_gamma",
        "bn_beta",
        "fc_weight",
        "fc_bias",
    ]
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]


def test_internals_by_name_and_position() -> None:
    internals = small_network().get_internals()
    assert internals.list_outputs()[:3] == ["data", "conv_weight", "conv_bias"]
    assert internals["bn_output"].list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert internals["act_output"].list_arguments() == ["data", "conv_weight", "conv_bias", "bn_gamma", "bn_beta"]
    assert internals[-1].list_outputs() == ["fc_output"]
    assert internals[:2].list_outputs() == ["data", "conv_weight"]
    assert [output.name for output in internals[3:5]] == ["conv", "bn_gamma"]


def test_outputs_are_selected_from_anywhere() -> None:
    chosen = small_network().select_outputs(["act_output", "data", "fc_output"])
    assert chosen.list_outputs() == ["act_output", "data", "fc_output"]
    assert chosen.nodes[-1].name == "fc"


def test_an_output_that_does_not_exist() -> None:
    with pytest.raises(GraphError, match=r"no output is called 'act_outptu'; there are act_output, .* among 13"):
        small_network().get_internals()["act_outptu"]
    with pytest.raises(GraphError, match="an operator's output is called <node>_output"):
        small_network().get_internals()["fc"]
    with pytest.raises(IndexError, match="output 1 of a symbol with 1 outputs"):
        small_network()[1]


def test_two_outputs_of_one_name() -> None:
    twice = Group([Variable("a"), Variable("a")])
    with pytest.raises(GraphError, match="2 outputs are called 'a'; choose one by its position"):
        twice["a"]


def test_order_is_depth_first_in_operand_order() -> None:
    x = Variable("x")
    main = sym.Flatten(x, name="main")
    short = sym.Flatten(x, name="short")
    assert [node.name for node in (main + short).nodes[:-1]] == ["x", "main", "short"]
    assert [node.name for node in (short + main).nodes[:-1]] == ["x", "short", "main"]
    assert [node.name for node in Group([short, main]).nodes] == ["x", "short", "main"]


def test_copies_and_pickles_are_whole() -> None:
    net = small_network()
    for again in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert again.tojson() == net.tojson()
        assert again.nodes[-1] is not net.nodes[-1]


def test_graphs_may_be_deeper_than_the_stack() -> None:
    depth = 10 * sys.getrecursionlimit()
    net = deep_network(depth)
    assert len(net.nodes) == depth + 1
    assert net.infer_shape(data=(2, 3))[1] == [(2, 3)]
    assert len(pickle.loads(pickle.dumps(net)).nodes) == depth + 1
    assert "act0" in repr(net.nodes[1])


def test_repr_is_short() -> None:
    assert repr(small_network()) == "<Symbol fc_output>"
    assert repr(small_network().get_internals()).endswith(", …>")
