"""softmax, log_softmax, and SoftmaxActivation (over the channels of a map, or over all of an instance)."""

from __future__ import annotations

from mxface.ops.params import Param, choice, optional, parse_float, parse_int
from mxface.ops.shapes import same_shape
from mxface.ops.spec import OpSpec, register

AXIS_AND_TEMPERATURE = {
    "axis": Param(parse_int, -1),
    "temperature": Param(optional(parse_float), None),
    "dtype": Param(optional(choice("float16", "float32", "float64")), None),
}

SOFTMAX = register(OpSpec(name="softmax", params=AXIS_AND_TEMPERATURE, infer_shape=same_shape))

LOG_SOFTMAX = register(OpSpec(name="log_softmax", params=AXIS_AND_TEMPERATURE, infer_shape=same_shape))

SOFTMAX_ACTIVATION = register(
    OpSpec(
        name="SoftmaxActivation",
        params={"mode": Param(choice("instance", "channel"), "instance")},
        infer_shape=same_shape,
    )
)
