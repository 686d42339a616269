"""Activation, LeakyReLU and its relatives."""

from __future__ import annotations

import math

from mxface.export.registry import OnnxNode, exports

ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


@exports("Activation")
def activation(op: OnnxNode) -> list[str]:
    return op.emit(ACTIVATIONS[op.params["act_type"]], [op.data])


@exports("LeakyReLU")
def leaky_relu(op: OnnxNode) -> list[str]:
    kind = op.params["act_type"]
    if kind == "prelu":
        slope = op.parameter(op.inputs[1]).reshape(-1, *[1] * (op.rank(op.data) - 2))
        return op.emit("PRelu", [op.data, op.floats("slope", slope)])
    if kind == "gelu":
        return gelu(op)
    return op.emit({"leaky": "LeakyRelu", "elu": "Elu"}[kind], [op.data], alpha=op.params["slope"])


def gelu(op: OnnxNode) -> list[str]:
    """x (1 + erf(x / sqrt 2)) / 2."""
    erf = op.step("erf", "Erf", op.step("scaled", "Mul", op.data, op.floats("scale", math.sqrt(0.5))))
    share = op.step("share", "Mul", op.step("raised", "Add", erf, op.floats("one", 1)), op.floats("half", 0.5))
    return op.emit("Mul", [op.data, share])
