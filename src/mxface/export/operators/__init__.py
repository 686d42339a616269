"""The ONNX form of every operator that `lower` knows; importing this registers them."""

# ruff: noqa: F401  (a family is imported so that it registers its operators)

from mxface.export.operators import (
    activations,
    arithmetic,
    arrays,
    deformable_convolution,
    layers,
    pooling,
    reduce,
    selection,
    softmax,
)
