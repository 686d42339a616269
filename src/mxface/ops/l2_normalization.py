"""L2Normalization: x / sqrt(sum x^2 + eps), the sum over a whole instance, its channels or its positions."""

from __future__ import annotations

from mxface.ops.params import Param, choice, parse_float
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

L2_NORMALIZATION = register(
    OpSpec(
        name="L2Normalization",
        params={
            "eps": Param(parse_float, 1e-10),
            "mode": Param(choice("instance", "channel", "spatial"), "instance"),
        },
        hidden_outputs=lambda _: 1,
        infer_shape=same_shape,
    )
)
