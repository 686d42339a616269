"""How operators compute, in torch: `lower` turns a graph and its parameters into a module that trains and predicts."""

# ruff: noqa: F401  (a family is imported so that it registers its lowerings)

from mxface.lower import (
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
from mxface.lower.network import export_params, lower
from mxface.lower.registry import LOWERINGS, Lowering

__all__ = ["LOWERINGS", "Lowering", "export_params", "lower"]
