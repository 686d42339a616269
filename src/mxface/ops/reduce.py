"""Reductions over the named axes, or over everything (batch included), giving shape (1,), when none is named."""

from __future__ import annotations

from mxface.ops.params import Param, optional, parse_bool, parse_ints
from mxface.ops.shapes import Inference, from_data, normalize_axis
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def reduce_shape(params: Params, data: Shape) -> Inference:
    axes = reduced_axes(params, len(data))
    if params["keepdims"]:
        return {}, [tuple(1 if axis in axes else size for axis, size in enumerate(data))]
    return {}, [tuple(size for axis, size in enumerate(data) if axis not in axes) or (1,)]


def reduced_axes(params: Params, rank: int) -> tuple[int, ...]:
    """The axes that disappear, counted from the front, in order."""
    if not params["axis"]:
        return () if params["exclude"] and params["axis"] is not None else tuple(range(rank))
    named = {normalize_axis(axis, rank) for axis in params["axis"]}
    return tuple(axis for axis in range(rank) if (axis in named) != params["exclude"])


FUNCTIONS_OF = {"sum": ("sum_axis",), "mean": (), "max": ("max_axis",), "min": ("min_axis",)}

for name, functions in FUNCTIONS_OF.items():
    register(
        OpSpec(
            name=name,
            functions=functions,
            params={
                "axis": Param(optional(parse_ints), None),
                "keepdims": Param(parse_bool, False),
                "exclude": Param(parse_bool, False),
            },
            infer_shape=reduce_shape,
        )
    )
