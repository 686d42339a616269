"""BatchNorm: over all axes but `axis`; the moving averages are auxiliary states."""

from __future__ import annotations

from mxface.ops.params import Param, optional, parse_bool, parse_float, parse_int
from mxface.ops.shapes import Inference, from_data, normalize_axis
from mxface.ops.spec import SINGLE_OUTPUT, OpSpec, Params, Shape, register


@from_data
def batch_norm_shape(params: Params, data: Shape) -> Inference:
    channels = (data[normalize_axis(params["axis"], len(data))],)
    slots = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_var"), channels)
    return slots, [data, channels, channels] if params["output_mean_var"] else [data]


def batch_norm_outputs(params: Params) -> tuple[str, ...]:
    return ("output", "mean", "var") if params["output_mean_var"] else SINGLE_OUTPUT


BATCH_NORM = register(
    OpSpec(
        name="BatchNorm",
        params={
            "eps": Param(parse_float, 1e-3),
            "momentum": Param(parse_float, 0.9),
            "fix_gamma": Param(parse_bool, True),
            "use_global_stats": Param(parse_bool, False),
            "output_mean_var": Param(parse_bool, False),
            "axis": Param(parse_int, 1),
            "cudnn_off": Param(parse_bool, False),
            "min_calib_range": Param(optional(parse_float), None),
            "max_calib_range": Param(optional(parse_float), None),
        },
        slots=("data", "gamma", "beta", "moving_mean", "moving_var"),
        aux=("moving_mean", "moving_var"),
        initializers={"moving_mean": '["zero", {}]', "moving_var": '["one", {}]'},
        outputs=batch_norm_outputs,
        hidden_outputs=lambda params: 0 if params["output_mean_var"] else 2,
        infer_shape=batch_norm_shape,
    )
)
