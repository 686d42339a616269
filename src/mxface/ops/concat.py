"""Concat: inputs joined along one axis."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, parse_count, parse_int
from mxface.ops.shapes import from_all_inputs, normalize_axis
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def concat_shape(params: Params, inputs: list[Shape]) -> list[Shape]:
    first = inputs[0]
    axis = normalize_axis(params["dim"], len(first))
    for other in inputs[1:]:
        if len(other) != len(first) or other[:axis] + other[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise GraphError(f"{other} cannot be joined to {first} along axis {axis}: the other sizes must be equal")
    return [(*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])]


CONCAT = register(
    OpSpec(
        name="Concat",
        functions=("concat",),
        params={"num_args": Param(parse_count), "dim": Param(parse_int, 1)},
        slots=(),
        count_param="num_args",
        infer_shape=concat_shape,
    )
)
