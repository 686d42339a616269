"""ONNX export: every operator that has a translation, on ONNX Runtime against the lowered graph; refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.runtime.networks import embedding_network, random_checkpoint

from mxface.errors import DependencyError, GraphError, UnsupportedOperatorError
from mxface.export.onnx import to_onnx
from mxface.export.onnx_operators import EXPORTERS
from mxface.graph import Symbol, sym
from mxface.lower import lower

SIDE = 10
IMAGES = np.random.default_rng(2).standard_normal((3, 6, SIDE, SIDE)).astype(np.float32)

Use = Callable[[Symbol], Symbol]


def used(op: str, **attrs: Any) -> Use:
    """The operator on the image."""
    return lambda data: getattr(sym, op)(data, **attrs, name="node")


def used_twice(op: str, **attrs: Any) -> Use:
    """The operator on the image and on an image of another content and the same size."""
    return lambda data: getattr(sym, op)(data, sym.Activation(data, act_type="sigmoid") + 0.5, **attrs, name="node")


def cropped(**attrs: Any) -> Use:
    return lambda data: sym.Crop(data, sym.Pooling(data, kernel=(4, 3)), **attrs, name="node")


def on_features(op: str, **attrs: Any) -> Use:
    """The operator on flat features: `(N, 600)`."""
    return lambda data: getattr(sym, op)(sym.Flatten(data), **attrs, name="node")


USES: dict[str, list[Use]] = {
    "Convolution": [
        used("Convolution", num_filter=4, kernel=(3, 2), stride=(2, 1), pad=(1, 0), num_group=2),
        used("Convolution", num_filter=4, kernel=(3, 3), dilate=(2, 2), no_bias=True),
    ],
    "BatchNorm": [used("BatchNorm"), used("BatchNorm", fix_gamma=False, eps=2e-05), on_features("BatchNorm")],
    "LeakyReLU": [
        used("LeakyReLU", act_type="prelu"),
        on_features("LeakyReLU", act_type="prelu"),
        used("LeakyReLU", slope=0.1),
        used("LeakyReLU", act_type="elu", slope=0.5),
    ],
    "Activation": [used("Activation", act_type=kind) for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")],
    "Pooling": [
        used("Pooling", kernel=(3, 3), stride=(2, 2)),
        used("Pooling", kernel=(3, 3), stride=(2, 2), pooling_convention="full"),
        used("Pooling", kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg"),
        used("Pooling", kernel=(3, 3), pad=(1, 1), pool_type="avg", count_include_pad=False),
        used("Pooling", kernel=(7, 7), global_pool=True, pool_type="avg"),
        used("Pooling", kernel=(7, 7), global_pool=True),
    ],
    "FullyConnected": [used("FullyConnected", num_hidden=5), on_features("FullyConnected", num_hidden=5, no_bias=True)],
    "Flatten": [used("Flatten")],
    "Concat": [used_twice("Concat"), used_twice("Concat", dim=2)],
    "SliceChannel": [lambda data: sym.SliceChannel(data, num_outputs=3, name="node")[1]],
    "Reshape": [used("Reshape", shape=(0, 2, -1, 0)), used("Reshape", shape=(0, -1))],
    "SoftmaxActivation": [used("SoftmaxActivation", mode="channel"), on_features("SoftmaxActivation")],
    "SoftmaxOutput": [used("SoftmaxOutput", multi_output=True), on_features("SoftmaxOutput")],
    "softmax": [used("softmax", axis=1), used("softmax")],
    "UpSampling": [used("UpSampling", scale=2, sample_type="nearest", num_args=1)],
    "Crop": [cropped(), cropped(offset=(2, 1))],
    "Dropout": [used("Dropout", p=0.3)],
    "_copy": [used("identity")],
    "BlockGrad": [used("BlockGrad")],
    "add_n": [used_twice("add_n")],
    **{f"elemwise_{name}": [used_twice(f"elemwise_{name}")] for name in ("add", "sub", "mul", "div")},
    **{f"broadcast_{name}": [used_twice(f"broadcast_{name}")] for name in ("add", "sub", "mul", "div")},
    "_plus_scalar": [lambda data: data + 2.5],
    "_minus_scalar": [lambda data: data - 2.5],
    "_mul_scalar": [lambda data: data * 2.5],
    "_div_scalar": [lambda data: data / 2.5],
}


def test_every_translation_is_used() -> None:
    assert USES.keys() == EXPORTERS.keys()


@pytest.mark.parametrize("op", sorted(EXPORTERS))
def test_agrees_with_the_lowered_graph(op: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    for use in USES[op]:
        symbol = use(sym.Variable("data"))
        assert op in {node.op for node in symbol.nodes}
        checkpoint = random_checkpoint(symbol, IMAGES.shape[1:])
        params = {**checkpoint.arg_params, **checkpoint.aux_params}
        model = to_onnx(symbol, params, image_shape=IMAGES.shape[1:])
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (ours,) = session.run(None, {"data": IMAGES})
        with torch.no_grad():
            expected = lower(symbol, params).eval()(torch.from_numpy(IMAGES)).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_outputs_keep_their_names_and_the_batch_is_open() -> None:
    pytest.importorskip("onnx")
    checkpoint = random_checkpoint(embedding_network(), (3, 12, 12))
    symbol = checkpoint.symbol.select_outputs(["plain_relu_output", "fc1_output"])
    model = to_onnx(symbol, {**checkpoint.arg_params, **checkpoint.aux_params}, image_shape=(3, 12, 12))
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"data": ["N", 3, "H", "W"], "plain_relu_output": ["N", 8, 0, 0], "fc1_output": ["N", 5]}


def export(symbol: Symbol, **params: np.ndarray) -> None:
    to_onnx(symbol, params, image_shape=IMAGES.shape[1:])


@pytest.mark.parametrize(
    "use",
    [
        used("BatchNorm", axis=2),
        used("LeakyReLU", act_type="gelu"),
        used("Pooling", kernel=(3, 3), pool_type="avg", pooling_convention="full"),
        used("FullyConnected", num_hidden=3, flatten=False),
        lambda data: sym.SliceChannel(data, num_outputs=6, squeeze_axis=True, name="node")[0],
        used("Reshape", shape=(-3, -2)),
        used("softmax", temperature=2.0),
        used("Crop", h_w=(3, 3), center_crop=True),
    ],
)
def test_what_has_no_form_is_refused(use: Use) -> None:
    pytest.importorskip("onnx")
    symbol = use(sym.Variable("data"))
    checkpoint = random_checkpoint(symbol, IMAGES.shape[1:])
    with pytest.raises(GraphError, match=r"'node'.* no ONNX form"):
        export(symbol, **checkpoint.arg_params, **checkpoint.aux_params)


def test_unknown_operators_are_refused() -> None:
    pytest.importorskip("onnx")
    with pytest.raises(
        UnsupportedOperatorError, match=r"operator L2Normalization \(node 'norm'\) has no ONNX form; .*Convolution"
    ):
        export(sym.L2Normalization(sym.Variable("data"), name="norm"))


def test_missing_parameters_are_listed() -> None:
    pytest.importorskip("onnx")
    with pytest.raises(GraphError, match="2 parameters are missing: fc_bias, fc_weight"):
        export(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc"))
    with pytest.raises(GraphError, match="parameter 'relu_gamma' is missing"):
        export(sym.LeakyReLU(sym.Variable("data"), act_type="prelu", name="relu"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match=r"pip install 'mxface\[onnx\]'"):
        export(sym.Flatten(sym.Variable("data")))
