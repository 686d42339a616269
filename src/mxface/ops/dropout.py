"""Dropout: inverted, in training only (or always, by `mode`)."""

from __future__ import annotations

from mxface.ops.params import Param, choice, optional, parse_bool, parse_float, parse_ints
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

DROPOUT = register(
    OpSpec(
        name="Dropout",
        params={
            "p": Param(parse_float, 0.5),
            "mode": Param(choice("training", "always"), "training"),
            "axes": Param(parse_ints, ()),
            "cudnn_off": Param(optional(parse_bool), False),
        },
        hidden_outputs=lambda _: 1,
        infer_shape=same_shape,
    )
)
