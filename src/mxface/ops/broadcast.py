"""broadcast_*: two inputs whose sizes are equal or 1 on every axis; missing leading axes count as 1."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.shapes import from_all_inputs
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def broadcast_shape(_params: Params, inputs: list[Shape]) -> list[Shape]:
    rank = max(map(len, inputs))
    lhs, rhs = ((1,) * (rank - len(shape)) + shape for shape in inputs)
    if any(a != b and a != 1 and b != 1 for a, b in zip(lhs, rhs, strict=True)):
        raise GraphError(f"{inputs[0]} and {inputs[1]} cannot be broadcast: each axis needs equal sizes, or 1")
    return [tuple(map(max, lhs, rhs))]


FUNCTIONS_OF = {
    "broadcast_add": ("broadcast_plus",),
    "broadcast_sub": ("broadcast_minus",),
    "broadcast_mul": (),
    "broadcast_div": (),
    "broadcast_power": (),
    "broadcast_maximum": (),
    "broadcast_minimum": (),
}

for name, functions in FUNCTIONS_OF.items():
    register(OpSpec(name=name, functions=functions, slots=("lhs", "rhs"), infer_shape=broadcast_shape))
