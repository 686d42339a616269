"""FullyConnected: flattens its input (unless told not to), then weight and bias."""

from __future__ import annotations

from math import prod

from mxface.ops.convolution import without_bias
from mxface.ops.params import Param, parse_bool, parse_size
from mxface.ops.shapes import Inference, from_data
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def fully_connected_shape(params: Params, data: Shape) -> Inference:
    hidden = params["num_hidden"]
    rows, features = (data[:1], prod(data[1:])) if params["flatten"] else (data[:-1], data[-1])
    return {"weight": (hidden, features), "bias": (hidden,)}, [(*rows, hidden)]


FULLY_CONNECTED = register(
    OpSpec(
        name="FullyConnected",
        params={
            "num_hidden": Param(parse_size),
            "no_bias": Param(parse_bool, False),
            "flatten": Param(parse_bool, True),
        },
        slots=("data", "weight", "bias"),
        unused_slots=without_bias,
        infer_shape=fully_connected_shape,
    )
)
