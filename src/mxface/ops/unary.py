"""Functions of one number, applied to every element; no parameters."""

from __future__ import annotations

from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

NAMES = (
    "abs",
    "arccos",
    "arcsin",
    "arctan",
    "cos",
    "exp",
    "log",
    "negative",
    "relu",
    "rsqrt",
    "sigmoid",
    "sin",
    "sqrt",
    "square",
    "tan",
    "tanh",
)

for name in NAMES:
    register(OpSpec(name=name, infer_shape=same_shape))
