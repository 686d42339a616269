"""Activation: an elementwise non-linearity without parameters."""

from __future__ import annotations

from mxface.ops.params import Param, choice
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

ACTIVATION_TYPES = ("relu", "sigmoid", "softrelu", "softsign", "tanh")

ACTIVATION = register(
    OpSpec(name="Activation", params={"act_type": Param(choice(*ACTIVATION_TYPES))}, infer_shape=same_shape)
)
