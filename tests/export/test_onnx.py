"""ONNX export of whole graphs: names, free axes, what is refused. The operators: test_operators.py."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from tests.runtime.networks import batch_mean_network, embedding_network, random_checkpoint

from mxface.errors import DependencyError, GraphError, UnsupportedOperatorError
from mxface.export.onnx import to_onnx
from mxface.graph import Group, Symbol, Variable, sym

IMAGE_SHAPE = (3, 12, 12)


def export(symbol: Symbol, **params: np.ndarray) -> Any:
    pytest.importorskip("onnx")
    return to_onnx(symbol, params, input_shapes={"data": (1, *IMAGE_SHAPE)})


def export_random(symbol: Symbol) -> Any:
    checkpoint = random_checkpoint(symbol, IMAGE_SHAPE)
    return export(symbol, **checkpoint.arg_params, **checkpoint.aux_params)


def axes(model: Any) -> dict[str, list[str | int]]:
    """Of inputs and outputs: sizes, names of free axes, "" for those that follow."""
    return {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


def test_outputs_keep_their_names_and_the_batch_is_open() -> None:
    model = export_random(embedding_network().select_outputs(["plain_relu_output", "fc1_output"]))
    # the fully connected layer takes maps of one size
    assert axes(model) == {"data": ["N", 3, 12, 12], "plain_relu_output": ["N", 8, 6, 6], "fc1_output": ["N", 5]}


def test_the_image_size_is_open_where_the_network_takes_any() -> None:
    model = export_random(embedding_network().select_outputs(["plain_relu_output"]))
    assert axes(model) == {"data": ["N", 3, "H", "W"], "plain_relu_output": ["N", 8, "", ""]}


def test_what_mixes_the_batch_has_no_batch_axis() -> None:
    model = export_random(batch_mean_network().get_internals()["mean0_output"])
    assert axes(model) == {"data": ["N", 3, "H", "W"], "mean0_output": [1]}


def test_a_graph_for_one_batch_size_is_refused() -> None:
    data = Variable("data")
    flat = sym.Flatten(data, name="flat")
    symbol = sym.broadcast_add(flat, sym.Reshape(data, shape=(1, -1)), name="node")
    with pytest.raises(GraphError, match=r"takes a batch of 1 only \(.*'node'.*\); choose outputs"):
        export(symbol)
    assert axes(export(symbol.select_outputs(["flat_output"])))["flat_output"] == ["N", ""]


def test_the_label_of_a_loss_falls_away() -> None:
    scores = sym.FullyConnected(Variable("data"), num_hidden=4, name="fc")
    model = export_random(sym.SoftmaxOutput(scores, name="softmax"))
    assert axes(model) == {"data": ["N", *IMAGE_SHAPE], "softmax_output": ["N", 4]}


def test_a_shared_weight_is_stored_once() -> None:
    weight = Variable("shared_weight")
    data = Variable("data")
    for index in range(2):
        data = sym.Convolution(data, weight, num_filter=3, kernel=(3, 3), no_bias=True, name=f"conv{index}")
    model = export_random(data)
    assert [constant.name for constant in model.graph.initializer] == ["shared_weight"]


def test_what_is_not_lowered_is_refused() -> None:
    symbol = sym.Pooling(Variable("data"), kernel=(3, 3), pool_type="lp", p_value=2, name="node")
    with pytest.raises(GraphError, match=r"node 'node': Pooling with pool_type='lp' cannot be lowered"):
        export(symbol)


def test_what_is_of_training_only_is_refused() -> None:
    scores = sym.Reshape(Variable("data"), shape=(0, 2, -1))
    mined = sym.Custom(scores, op_type="rpn_fpn_ohem3", name="mining")
    message = r"operator Custom \(node 'mining'\) has no ONNX form, since it is of training only: hard example"
    with pytest.raises(UnsupportedOperatorError, match=message):
        export(mined[0])


def test_names_that_are_taken_are_refused() -> None:
    data = Variable("data")
    twice = sym.Flatten(sym.Activation(data, act_type="relu", name="node"), name="node")
    for symbol, name in ((twice, "node"), (data, "data"), (Group([sym.Flatten(data, name="flat")] * 2), "flat_output")):
        with pytest.raises(GraphError, match=f"two arrays are called {name!r}; an ONNX model needs another name"):
            export(symbol)


def test_missing_and_misshaped_parameters_are_named() -> None:
    with pytest.raises(GraphError, match="2 parameters are missing: fc_bias, fc_weight"):
        export(sym.FullyConnected(Variable("data"), num_hidden=3, name="fc"))
    with pytest.raises(GraphError, match="parameter 'relu_gamma' is missing"):
        export(sym.LeakyReLU(Variable("data"), act_type="prelu", name="relu"))
    with pytest.raises(GraphError, match="fc"):
        export(sym.FullyConnected(Variable("data"), num_hidden=3, name="fc"), fc_weight=np.ones((3, 5), np.float32))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match=r"pip install 'mxface\[onnx\]'"):
        to_onnx(sym.Flatten(Variable("data")), {}, input_shapes={"data": (1, *IMAGE_SHAPE)})
