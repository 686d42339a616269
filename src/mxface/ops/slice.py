"""slice and slice_axis: Python's slices, `None` and negative positions included."""

from __future__ import annotations

from itertools import zip_longest

from mxface.errors import GraphError
from mxface.ops.params import Param, optional, parse_int, parse_optional_ints
from mxface.ops.shapes import Inference, from_data, normalize_axis
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def slice_shape(params: Params, data: Shape) -> Inference:
    for name in ("begin", "end", "step"):
        if len(params[name]) > len(data):
            raise GraphError(f"{name} {params[name]} names more axes than {data} has")
    if 0 in params["step"]:
        raise GraphError("a step of 0 goes nowhere")
    bounds = zip_longest(data, params["begin"], params["end"], params["step"])
    return {}, [tuple(slice_length(size, slice(begin, end, step)) for size, begin, end, step in bounds)]


@from_data
def slice_axis_shape(params: Params, data: Shape) -> Inference:
    axis = normalize_axis(params["axis"], len(data))
    length = slice_length(data[axis], slice(params["begin"], params["end"]))
    return {}, [(*data[:axis], length, *data[axis + 1 :])]


def slice_length(size: int, part: slice) -> int:
    """How many of `size` elements are in `part`. Raises GraphError for none."""
    length = len(range(*part.indices(size)))
    if length == 0:
        raise GraphError(f"slice {part.start}:{part.stop} of {size} elements is empty")
    return length


SLICE = register(
    OpSpec(
        name="slice",
        functions=("crop",),
        params={
            "begin": Param(parse_optional_ints),
            "end": Param(parse_optional_ints),
            "step": Param(parse_optional_ints, ()),
        },
        infer_shape=slice_shape,
    )
)

SLICE_AXIS = register(
    OpSpec(
        name="slice_axis",
        params={"axis": Param(parse_int), "begin": Param(parse_int), "end": Param(optional(parse_int))},
        infer_shape=slice_axis_shape,
    )
)
