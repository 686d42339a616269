"""Convolution, Deconvolution, FullyConnected, BatchNorm, L2Normalization, and what inference passes on."""

from __future__ import annotations

import numpy as np

from mxface.export.registry import OnnxNode, alike, exports, register

for name in ("BlockGrad", "Dropout", "MakeLoss", "_copy", "make_loss"):
    register(name, alike("Identity"))

register("Flatten", alike("Flatten"))


@exports("Convolution")
def convolution(op: OnnxNode) -> list[str]:
    return op.emit(
        "Conv",
        op.inputs,
        kernel_shape=op.params["kernel"],
        strides=op.params["stride"],
        pads=op.params["pad"] * 2,
        dilations=op.params["dilate"],
        group=op.params["num_group"],
    )


@exports("Deconvolution")
def deconvolution(op: OnnxNode) -> list[str]:
    return op.emit(
        "ConvTranspose",
        op.inputs,
        kernel_shape=op.params["kernel"],
        strides=op.params["stride"],
        pads=op.params["pad"] * 2,
        output_padding=op.params["adj"],
        dilations=op.params["dilate"],
        group=op.params["num_group"],
    )


@exports("FullyConnected")
def fully_connected(op: OnnxNode) -> list[str]:
    if op.params["flatten"]:
        return op.emit("Gemm", [op.step("flat", "Flatten", op.data), *op.inputs[1:]], transB=1)
    columns = op.step("columns", "Transpose", op.inputs[1], perm=[1, 0])
    if op.params["no_bias"]:
        return op.emit("MatMul", [op.data, columns])
    return op.emit("Add", [op.step("product", "MatMul", op.data, columns), op.inputs[2]])


@exports("BatchNorm")
def batch_norm(op: OnnxNode) -> list[str]:
    data, gamma, beta, mean, variance = op.inputs
    if op.params["fix_gamma"]:
        gamma = op.floats("ones", np.ones_like(op.parameter(gamma)))
    if op.params["axis"] % op.rank(data) == 1:
        return op.emit("BatchNormalization", [data, gamma, beta, mean, variance], epsilon=op.params["eps"])
    # ONNX normalises axis 1 alone
    scale = op.parameter(gamma) / np.sqrt(op.parameter(variance) + np.float32(op.params["eps"]))
    shift = op.parameter(beta) - op.parameter(mean) * scale
    sizes = [1] * op.rank(data)
    sizes[op.params["axis"]] = -1
    scaled = op.step("scaled", "Mul", data, op.floats("scale", scale.reshape(sizes)))
    return op.emit("Add", [scaled, op.floats("shift", shift.reshape(sizes))])


@exports("L2Normalization")
def l2_normalization(op: OnnxNode) -> list[str]:
    first, last = {"instance": (1, None), "channel": (1, 2), "spatial": (2, None)}[op.params["mode"]]
    axes = list(range(op.rank(op.data)))[first:last]
    squares = op.step("squares", "ReduceSumSquare", op.data, axes=axes, keepdims=1)
    length = op.step("length", "Sqrt", op.step("padded", "Add", squares, op.floats("eps", op.params["eps"])))
    return op.emit("Div", [op.data, length])
