"""Operators that pass their input on and differ only in the gradient.

_copy passes it back; BlockGrad passes none back; MakeLoss and make_loss start it (MakeLoss with a scale).
"""

from __future__ import annotations

from mxface.ops.params import Param, choice, parse_float
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

COPY = register(OpSpec(name="_copy", functions=("identity",), infer_shape=same_shape))

BLOCK_GRAD = register(OpSpec(name="BlockGrad", functions=("stop_gradient",), infer_shape=same_shape))

MAKE_LOSS_SCALED = register(
    OpSpec(
        name="MakeLoss",
        params={
            "grad_scale": Param(parse_float, 1.0),
            "valid_thresh": Param(parse_float, 0.0),
            "normalization": Param(choice("null", "batch", "valid"), "null"),
        },
        infer_shape=same_shape,
    )
)

MAKE_LOSS = register(OpSpec(name="make_loss", outputs=lambda _: ("loss",), infer_shape=same_shape))
