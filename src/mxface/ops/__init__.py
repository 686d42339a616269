"""The operators that a graph may hold: parameters, inputs, shapes. `OPS` is the registry; importing this fills it."""

# ruff: noqa: F401  (a family is imported so that it registers its operators)

from mxface.ops import (
    activation,
    axes,
    batch_norm,
    broadcast,
    concat,
    convolution,
    crop,
    custom,
    deconvolution,
    deformable_convolution,
    dropout,
    elemwise,
    flatten,
    fully_connected,
    identity,
    l2_normalization,
    leaky_relu,
    one_hot,
    pad,
    pick,
    pooling,
    reduce,
    reshape,
    scalar,
    slice,
    slice_channel,
    softmax,
    softmax_output,
    unary,
    upsampling,
)
from mxface.ops.params import Param
from mxface.ops.spec import FUNCTIONS, OPS, OpSpec, Params, Shape, find_operator, register

__all__ = [
    "FUNCTIONS",
    "OPS",
    "OpSpec",
    "Param",
    "Params",
    "Shape",
    "find_operator",
    "register",
]
