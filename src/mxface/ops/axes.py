"""Operators that only rearrange axes: transpose, expand_dims, reverse, tile."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, parse_int, parse_ints, parse_sizes
from mxface.ops.shapes import Inference, from_data, normalize_axis, same_shape
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def transpose_shape(params: Params, data: Shape) -> Inference:
    axes = params["axes"] or tuple(reversed(range(len(data))))
    if sorted(axes) != list(range(len(data))):
        raise GraphError(f"axes {axes} do not name each of {len(data)} axes once")
    return {}, [tuple(data[axis] for axis in axes)]


@from_data
def expand_dims_shape(params: Params, data: Shape) -> Inference:
    axis = normalize_axis(params["axis"], len(data) + 1)
    return {}, [(*data[:axis], 1, *data[axis:])]


@from_data
def tile_shape(params: Params, data: Shape) -> Inference:
    reps = params["reps"]
    rank = max(len(reps), len(data))
    padded_reps = (1,) * (rank - len(reps)) + reps
    padded_data = (1,) * (rank - len(data)) + data
    return {}, [tuple(size * times for size, times in zip(padded_data, padded_reps, strict=True))]


TRANSPOSE = register(OpSpec(name="transpose", params={"axes": Param(parse_ints, ())}, infer_shape=transpose_shape))

EXPAND_DIMS = register(OpSpec(name="expand_dims", params={"axis": Param(parse_int)}, infer_shape=expand_dims_shape))

REVERSE = register(
    OpSpec(name="reverse", functions=("flip",), params={"axis": Param(parse_ints)}, infer_shape=same_shape)
)

TILE = register(OpSpec(name="tile", params={"reps": Param(parse_sizes)}, infer_shape=tile_shape))
