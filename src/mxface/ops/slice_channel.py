"""SliceChannel (split): one input cut into equal parts along an axis, each an output."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, parse_bool, parse_count, parse_int
from mxface.ops.shapes import Inference, from_data, normalize_axis
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def slice_channel_shape(params: Params, data: Shape) -> Inference:
    parts = params["num_outputs"]
    axis = normalize_axis(params["axis"], len(data))
    if data[axis] % parts:
        raise GraphError(f"{data[axis]} elements of axis {axis} cannot be cut into {parts} equal parts")
    length = data[axis] // parts
    if params["squeeze_axis"] and length != 1:
        raise GraphError(f"squeeze_axis needs parts of length 1, not {length}")
    kept = () if params["squeeze_axis"] else (length,)
    return {}, [(*data[:axis], *kept, *data[axis + 1 :])] * parts


def slice_channel_outputs(params: Params) -> tuple[str, ...]:
    return tuple(f"output{i}" for i in range(params["num_outputs"]))


SLICE_CHANNEL = register(
    OpSpec(
        name="SliceChannel",
        functions=("split",),
        params={
            "num_outputs": Param(parse_count),
            "axis": Param(parse_int, 1),
            "squeeze_axis": Param(parse_bool, False),
        },
        outputs=slice_channel_outputs,
        infer_shape=slice_channel_shape,
    )
)
