"""LeakyReLU and its relatives; `prelu` learns its slope, one a channel (or, from Gluon, one for all)."""

from __future__ import annotations

from collections.abc import Mapping

from mxface.ops.params import Param, choice, parse_float
from mxface.ops.shapes import Inference, is_complete
from mxface.ops.spec import OpSpec, Params, Shape, register


def leaky_relu_shape(_params: Params, inputs: Mapping[str, Shape | None]) -> Inference | None:
    data, gamma = inputs["data"], inputs.get("gamma")
    if data is None or not is_complete(data):
        return None
    per_channel = (data[1] if len(data) > 1 else data[0],)
    return {} if is_complete(gamma) else {"gamma": per_channel}, [data]


def without_slope(params: Params) -> tuple[str, ...]:
    return () if params["act_type"] == "prelu" else ("gamma",)


LEAKY_RELU = register(
    OpSpec(
        name="LeakyReLU",
        params={
            "act_type": Param(choice("leaky", "prelu", "elu", "selu", "gelu", "rrelu"), "leaky"),
            "slope": Param(parse_float, 0.25),
            "lower_bound": Param(parse_float, 0.125),
            "upper_bound": Param(parse_float, 0.334),
        },
        slots=("data", "gamma"),
        unused_slots=without_slope,
        hidden_outputs=lambda params: int(params["act_type"] == "rrelu"),
        initializers={"gamma": '["Constant", {"value": 0.25}]'},
        infer_shape=leaky_relu_shape,
    )
)
