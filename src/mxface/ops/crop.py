"""Crop: the window of a second input's size, or of `h_w`, at `offset` or in the centre."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, parse_bool, parse_count, parse_lengths
from mxface.ops.shapes import from_all_inputs, require_rank
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def crop_shape(params: Params, inputs: list[Shape]) -> list[Shape]:
    data = inputs[0]
    for shape in inputs:
        require_rank(shape, 4)
    if len(inputs) > 2 or len(params["h_w"]) != 2 or len(params["offset"]) != 2:
        raise GraphError("needs at most two inputs, and two numbers for each of h_w and offset")
    size = inputs[1][2:] if len(inputs) > 1 else params["h_w"]
    offset = (0, 0) if params["center_crop"] else params["offset"]
    if any(start + length > whole for start, length, whole in zip(offset, size, data[2:], strict=True)):
        raise GraphError(f"a crop of {size} at {offset} leaves the map of {data[2:]}")
    return [(*data[:2], *size)]


CROP = register(
    OpSpec(
        name="Crop",
        params={
            "num_args": Param(parse_count),
            "offset": Param(parse_lengths, (0, 0)),
            "h_w": Param(parse_lengths, (0, 0)),
            "center_crop": Param(parse_bool, False),
        },
        slots=(),
        count_param="num_args",
        infer_shape=crop_shape,
    )
)
