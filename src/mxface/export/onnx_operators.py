"""The ONNX form of each operator, for inference.

A translation gets the builder, the node's name, the names of its inputs and its typed parameters; it adds ONNX nodes,
the last of them under the node's own name, and gives the names of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mxface.errors import GraphError

if TYPE_CHECKING:
    from mxface.export.onnx import OnnxBuilder

Inputs = Sequence[str]
Params = Mapping[str, Any]
Exporter = Callable[["OnnxBuilder", str, Inputs, Params], "list[str]"]

ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


def convolution(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    return builder.emit(
        "Conv",
        inputs,
        name,
        kernel_shape=params["kernel"],
        strides=params["stride"],
        pads=params["pad"] * 2,
        dilations=params["dilate"],
        group=params["num_group"],
    )


def batch_norm(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    data, gamma, beta, mean, variance = inputs
    if params["axis"] != 1:
        raise GraphError(f"BatchNorm {name!r} over axis {params['axis']} has no ONNX form; only axis 1 has")
    if params["fix_gamma"]:
        gamma = builder.constant(f"{name}_ones", np.ones_like(builder.parameter(gamma)))
    return builder.emit("BatchNormalization", [data, gamma, beta, mean, variance], name, epsilon=params["eps"])


def leaky_relu(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    kind = params["act_type"]
    if kind == "prelu":
        spatial_axes = len(builder.shapes[inputs[0]]) - 2
        slope = builder.parameter(inputs[1]).reshape(-1, *[1] * spatial_axes)
        return builder.emit("PRelu", [inputs[0], builder.constant(f"{name}_slope", slope)], name)
    if kind == "leaky":
        return builder.emit("LeakyRelu", inputs, name, alpha=params["slope"])
    if kind == "elu":
        return builder.emit("Elu", inputs, name, alpha=params["slope"])
    raise GraphError(f"LeakyReLU {name!r} with act_type={kind!r} has no ONNX form; leaky, prelu and elu have")


def activation(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    return builder.emit(ACTIVATIONS[params["act_type"]], inputs, name)


def pooling(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    kind = {"max": "MaxPool", "avg": "AveragePool"}.get(params["pool_type"])
    full = params["pooling_convention"] == "full"
    if kind is None or params["pooling_convention"] == "same" or (full and kind == "AveragePool"):
        raise GraphError(f"Pooling {name!r} ({params['pool_type']}, {params['pooling_convention']}) has no ONNX form")
    if params["global_pool"]:
        return builder.emit(f"Global{kind}", inputs, name)
    attributes = {"kernel_shape": params["kernel"], "strides": params["stride"], "pads": params["pad"] * 2}
    if kind == "AveragePool":
        return builder.emit(
            kind, inputs, name, count_include_pad=int(params["count_include_pad"] is not False), **attributes
        )
    return builder.emit(kind, inputs, name, ceil_mode=int(full), **attributes)


def fully_connected(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if not params["flatten"]:
        raise GraphError(f"FullyConnected {name!r} with flatten=False has no ONNX form")
    flat = builder.emit("Flatten", inputs[:1], f"{name}_flat")
    return builder.emit("Gemm", [*flat, *inputs[1:]], name, transB=1)


def concat(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    return builder.emit("Concat", inputs, name, axis=params["dim"])


def slice_channel(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if params["squeeze_axis"]:
        raise GraphError(f"SliceChannel {name!r} with squeeze_axis has no ONNX form")
    return builder.emit("Split", inputs, name, outputs=params["num_outputs"], axis=params["axis"])


def reshape(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if params["reverse"] or min(params["shape"]) < -1:
        raise GraphError(f"Reshape {name!r} to {params['shape']} has no ONNX form; its codes 0 and -1 have")
    target = builder.constant(f"{name}_target", np.array(params["shape"], dtype=np.int64))
    return builder.emit("Reshape", [inputs[0], target], name)


def softmax_activation(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    return builder.emit("Softmax", inputs, name, axis=1 if params["mode"] == "channel" else -1)


def softmax_output(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if len(builder.shapes[inputs[0]]) > 2 and not params["multi_output"] and not params["preserve_shape"]:
        raise GraphError(f"SoftmaxOutput {name!r} over all of an instance has no ONNX form")
    return builder.emit("Softmax", inputs[:1], name, axis=1 if params["multi_output"] else -1)


def softmax(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if params["temperature"] not in (None, 1.0):
        raise GraphError(f"softmax {name!r} with a temperature has no ONNX form")
    return builder.emit("Softmax", inputs, name, axis=params["axis"])


def upsampling(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if len(inputs) > 1:
        raise GraphError(f"UpSampling {name!r} of {len(inputs)} maps has no ONNX form")
    scales = builder.constant(f"{name}_scales", np.array([1, 1, params["scale"], params["scale"]], dtype=np.float32))
    return builder.emit(
        "Resize",
        [inputs[0], "", scales],
        name,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def crop(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
    if len(inputs) != 2 or params["center_crop"]:
        raise GraphError(f"Crop {name!r} without a map to copy the size of, or to the centre, has no ONNX form")
    start = builder.constant(f"{name}_start", np.array(params["offset"], dtype=np.int64))
    axes = builder.constant(f"{name}_axes", np.array([2, 3], dtype=np.int64))
    size = builder.emit("Shape", [inputs[1]], f"{name}_size", start=2)
    end = builder.emit("Add", [start, *size], f"{name}_end")
    return builder.emit("Slice", [inputs[0], start, *end, axes], name)


def first_input(operator: str) -> Exporter:
    """The translation of an operator without parameters that ONNX knows, or whose parameters are training's."""

    def translate(builder: OnnxBuilder, name: str, inputs: Inputs, _params: Params) -> list[str]:
        return builder.emit(operator, inputs[:1], name)

    return translate


def both_inputs(operator: str) -> Exporter:
    """The translation of an arithmetic operator."""

    def translate(builder: OnnxBuilder, name: str, inputs: Inputs, _params: Params) -> list[str]:
        return builder.emit(operator, inputs, name)

    return translate


def with_scalar(operator: str) -> Exporter:
    """The translation of an arithmetic operator whose second operand is a number."""

    def translate(builder: OnnxBuilder, name: str, inputs: Inputs, params: Params) -> list[str]:
        scalar = builder.constant(f"{name}_scalar", np.array(params["scalar"], dtype=np.float32))
        return builder.emit(operator, [*inputs, scalar], name)

    return translate


ARITHMETIC = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}
SCALAR = {"plus": "Add", "minus": "Sub", "mul": "Mul", "div": "Div"}

EXPORTERS: dict[str, Exporter] = {
    "Convolution": convolution,
    "BatchNorm": batch_norm,
    "LeakyReLU": leaky_relu,
    "Activation": activation,
    "Pooling": pooling,
    "FullyConnected": fully_connected,
    "Flatten": first_input("Flatten"),
    "Concat": concat,
    "SliceChannel": slice_channel,
    "Reshape": reshape,
    "SoftmaxActivation": softmax_activation,
    "SoftmaxOutput": softmax_output,
    "softmax": softmax,
    "UpSampling": upsampling,
    "Crop": crop,
    "Dropout": first_input("Identity"),
    "_copy": first_input("Identity"),
    "BlockGrad": first_input("Identity"),
    "add_n": both_inputs("Sum"),
    **{f"elemwise_{name}": both_inputs(operator) for name, operator in ARITHMETIC.items()},
    **{f"broadcast_{name}": both_inputs(operator) for name, operator in ARITHMETIC.items()},
    **{f"_{name}_scalar": with_scalar(operator) for name, operator in SCALAR.items()},
}
