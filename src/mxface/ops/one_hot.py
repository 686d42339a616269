"""one_hot: indices become rows of `off_value` with one `on_value`; an index out of range gives a row without one."""

from __future__ import annotations

from mxface.ops.params import Param, choice, parse_float, parse_size
from mxface.ops.shapes import from_all_inputs
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def one_hot_shape(params: Params, inputs: list[Shape]) -> list[Shape]:
    return [(*inputs[0], params["depth"])]


ONE_HOT = register(
    OpSpec(
        name="one_hot",
        params={
            "depth": Param(parse_size),
            "on_value": Param(parse_float, 1.0),
            "off_value": Param(parse_float, 0.0),
            "dtype": Param(choice("float16", "float32", "float64", "uint8", "int8", "int32", "int64"), "float32"),
        },
        slots=("indices",),
        infer_shape=one_hot_shape,
    )
)
