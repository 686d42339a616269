"""Crop: the window of a second input's size, or of `h_w`, at `offset` or in the centre."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, parse_bool, parse_int, parse_ints
from mxface.ops.shapes import from_all_inputs, require_rank
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def crop_shape(params: Params, inputs: list[Shape]) -> list[Shape]:
    data = inputs[0]
    require_rank(data, 4)
    size = inputs[1][2:] if len(inputs) > 1 else params["h_w"]
    offset = (0, 0) if params["center_crop"] else params["offset"]
    if any(start + length > whole for start, length, whole in zip(offset, size, data[2:], strict=True)):
        raise GraphError(f"a crop of {size} at {offset} leaves the map of {data[2:]}")
    return [(*data[:2], *size)]


CROP = register(
    OpSpec(
        name="Crop",
        params={
            "num_args": Param(parse_int),
            "offset": Param(parse_ints, (0, 0)),
            "h_w": Param(parse_ints, (0, 0)),
            "center_crop": Param(parse_bool, False),
        },
        slots=(),
        count_param="num_args",
        infer_shape=crop_shape,
    )
)
