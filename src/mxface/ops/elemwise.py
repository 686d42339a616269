"""elemwise_* and add_n: arithmetic of inputs of one shape. Python's `a + b` calls `_Plus`, and so on."""

from __future__ import annotations

from mxface.ops.params import Param, parse_count
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

FUNCTIONS_OF = {
    "elemwise_add": ("_Plus", "_plus", "_add"),
    "elemwise_sub": ("_Minus", "_minus", "_sub"),
    "elemwise_mul": ("_Mul", "_mul"),
    "elemwise_div": ("_Div", "_div"),
    "_power": ("_Power",),
    "_maximum": ("_Maximum",),
    "_minimum": ("_Minimum",),
}

for name, functions in FUNCTIONS_OF.items():
    register(OpSpec(name=name, functions=functions, slots=("lhs", "rhs"), infer_shape=same_shape))

ADD_N = register(
    OpSpec(
        name="add_n",
        functions=("ElementWiseSum",),
        params={"num_args": Param(parse_count)},
        slots=(),
        count_param="num_args",
        infer_shape=same_shape,
    )
)
