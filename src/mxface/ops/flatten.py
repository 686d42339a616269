"""Flatten: all axes but the first become one."""

from __future__ import annotations

from math import prod

from mxface.ops.shapes import Inference, from_data
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def flatten_shape(_params: Params, data: Shape) -> Inference:
    return {}, [(data[0], prod(data[1:]))]


FLATTEN = register(OpSpec(name="Flatten", functions=("flatten",), infer_shape=flatten_shape))
