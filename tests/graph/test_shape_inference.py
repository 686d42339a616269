"""Shapes of whole graphs."""

from __future__ import annotations

import numpy as np
import pytest

from mxface.errors import GraphError
from mxface.graph import Group, Variable, sym
from mxface.graph.naming import network_names


def test_weights_and_states_follow_from_data() -> None:
    body = sym.Convolution(Variable("data"), num_filter=4, kernel=(3, 3), stride=(2, 2), name="conv")
    net = sym.FullyConnected(sym.BatchNorm(body, name="bn"), num_hidden=5, name="fc")
    arguments, outputs, states = net.infer_shape(data=(2, 3, 9, 7))
    assert arguments == {
        "data": (2, 3, 9, 7),
        "conv_weight": (4, 3, 3, 3),
        "conv_bias": (4,),
        "bn_gamma": (4,),
        "bn_beta": (4,),
        "fc_weight": (5, 48),
        "fc_bias": (5,),
    }
    assert outputs == [(2, 5)]
    assert states == {"bn_moving_mean": (4,), "bn_moving_var": (4,)}


def test_a_label_used_before_the_loss_follows_from_the_loss() -> None:
    """The one_hot comes first in the graph; the SoftmaxOutput behind it tells the label's shape."""
    label = Variable("label")
    logits = sym.FullyConnected(Variable("data"), num_hidden=5, name="fc")
    with network_names():
        net = sym.SoftmaxOutput(logits + sym.one_hot(label, depth=5), label=label, name="softmax")
    arguments, outputs, _ = net.infer_shape(data=(4, 3))
    assert arguments["label"] == (4,)
    assert outputs == [(4, 5)]


def test_a_declared_shape_is_used_completed_and_overridden() -> None:
    data, partial = Variable("data", shape=(2, 6)), Variable("w", shape=(3, 0))
    net = sym.FullyConnected(data, weight=partial, num_hidden=3, no_bias=True, name="fc")
    assert net.infer_shape()[0] == {"data": (2, 6), "w": (3, 6)}
    assert net.infer_shape(data=(1, 8))[0] == {"data": (1, 8), "w": (3, 8)}


def test_a_declared_shape_that_does_not_fit() -> None:
    net = sym.FullyConnected(Variable("data"), weight=Variable("w", shape=(3, 5)), num_hidden=3, name="fc")
    with pytest.raises(
        GraphError, match=r"FullyConnected 'fc': shape \(3, 5\) does not agree with \(3, 6\) \(its inputs"
    ):
        net.infer_shape(data=(2, 6))


def test_numpys_integers_are_sizes() -> None:
    outputs = sym.Flatten(Variable("data")).infer_shape(data=tuple(np.array([2, 3, 4])))[1]
    assert outputs == [(2, 12)]
    assert all(type(size) is int for size in outputs[0])


@pytest.mark.parametrize("shape", [(0, 3), (-1, 3)])
def test_sizes_are_positive(shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match="of 'data' is not a tuple of positive sizes"):
        sym.Flatten(Variable("data")).infer_shape(data=shape)


def test_an_input_that_was_forgotten_is_named() -> None:
    net = sym.Flatten(Variable("left") * 2) + sym.Flatten(Variable("right"), name="flat")
    with pytest.raises(GraphError, match=r"the shape of 'right', an input of Flatten 'flat', does not follow"):
        net.infer_shape(left=(2, 3, 4))
    with pytest.raises(GraphError, match="the shape of 'alone' is not known; give it to infer_shape"):
        Group([Variable("alone"), net]).infer_shape(left=(2, 3, 4), right=(2, 12))


def test_an_input_that_does_not_exist_is_named() -> None:
    with pytest.raises(GraphError, match="the graph has no variable date; it has data"):
        sym.Flatten(Variable("data")).infer_shape(date=(1, 2))


def test_two_variables_of_one_name() -> None:
    net = Variable("a") + Variable("a")
    with pytest.raises(GraphError, match="two variables are called 'a'"):
        net.infer_shape(a=(1, 2))
