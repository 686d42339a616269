"""pick: of each row along `axis`, the element that `index` names."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, optional, parse_bool, parse_int
from mxface.ops.shapes import from_all_inputs, normalize_axis
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def pick_shape(params: Params, inputs: list[Shape]) -> list[Shape]:
    data, index = inputs
    if params["axis"] is None:
        raise GraphError("axis=None is not supported; name the axis to pick from")
    axis = normalize_axis(params["axis"], len(data))
    dropped = data[:axis] + data[axis + 1 :]
    kept = (*data[:axis], 1, *data[axis + 1 :])
    if index not in (dropped, kept):
        raise GraphError(f"an index of shape {index} does not fit; needs {dropped}")
    return [kept if params["keepdims"] else dropped]


PICK = register(
    OpSpec(
        name="pick",
        functions=("choose_element_0index",),
        params={
            "axis": Param(optional(parse_int), -1),
            "keepdims": Param(parse_bool, False),
            "mode": Param(choice("clip", "wrap"), "clip"),
        },
        slots=("data", "index"),
        infer_shape=pick_shape,
    )
)
