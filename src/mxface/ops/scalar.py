"""Arithmetic of an array and a number. Python's `x - 127.5` calls `_MinusScalar`, `1 - x` calls `_RMinusScalar`, …"""

from __future__ import annotations

from mxface.ops.params import Param, parse_bool, parse_float
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

FUNCTION_OF = {
    "_plus_scalar": "_PlusScalar",
    "_minus_scalar": "_MinusScalar",
    "_rminus_scalar": "_RMinusScalar",
    "_mul_scalar": "_MulScalar",
    "_div_scalar": "_DivScalar",
    "_rdiv_scalar": "_RDivScalar",
    "_power_scalar": "_PowerScalar",
    "_rpower_scalar": "_RPowerScalar",
    "_maximum_scalar": "_MaximumScalar",
    "_minimum_scalar": "_MinimumScalar",
}

for name, function in FUNCTION_OF.items():
    register(
        OpSpec(
            name=name,
            functions=(function,),
            params={"scalar": Param(parse_float, 1.0), "is_int": Param(parse_bool, True)},
            infer_shape=same_shape,
        )
    )

CLIP = register(
    OpSpec(name="clip", params={"a_min": Param(parse_float), "a_max": Param(parse_float)}, infer_shape=same_shape)
)

SMOOTH_L1 = register(OpSpec(name="smooth_l1", params={"scalar": Param(parse_float)}, infer_shape=same_shape))
