"""Pad: constant, edge or reflected values around the spatial axes."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, parse_float, parse_lengths
from mxface.ops.shapes import Inference, from_data
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def pad_shape(params: Params, data: Shape) -> Inference:
    width = params["pad_width"]
    if len(width) != 2 * len(data):
        raise GraphError(f"pad_width needs a (before, after) pair for each of {len(data)} axes, not {width}")
    return {}, [tuple(size + width[2 * axis] + width[2 * axis + 1] for axis, size in enumerate(data))]


PAD = register(
    OpSpec(
        name="Pad",
        functions=("pad",),
        params={
            "mode": Param(choice("constant", "edge", "reflect")),
            "pad_width": Param(parse_lengths),
            "constant_value": Param(parse_float, 0.0),
        },
        infer_shape=pad_shape,
    )
)
