"""Pooling in one to three dimensions. `global_pool` ignores the kernel; convention `full` rounds the output size up."""

from __future__ import annotations

from math import ceil
from typing import Any

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, optional, parse_bool, parse_int, parse_lengths, parse_sizes
from mxface.ops.shapes import (
    Inference,
    fill_window,
    from_data,
    require_channels_first,
    require_rank,
    window_positions,
)
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def pooling_shape(params: Params, data: Shape) -> Inference:
    require_channels_first(params["layout"])
    if params["global_pool"]:
        return {}, [(*data[:2], *(1 for _ in data[2:]))]
    kernel, stride, pad = params["kernel"], params["stride"], params["pad"]
    require_rank(data, 2 + len(kernel))
    if params["pooling_convention"] == "same":
        spatial = [ceil((size + 2 * p) / s) for size, s, p in zip(data[2:], stride, pad, strict=True)]
    else:
        round_up = params["pooling_convention"] == "full"
        spatial = [
            window_positions(size, k, s, p, round_up=round_up)
            for size, k, s, p in zip(data[2:], kernel, stride, pad, strict=True)
        ]
    return {}, [(*data[:2], *spatial)]


def complete_pooling(values: dict[str, Any]) -> None:
    if not values["kernel"] and not values["global_pool"]:
        raise GraphError("Pooling needs a kernel unless global_pool is True")
    if values["global_pool"]:
        return
    fill_window(values, rank=len(values["kernel"]), one=("stride",), zero=("pad",))


POOLING = register(
    OpSpec(
        name="Pooling",
        params={
            "kernel": Param(parse_sizes, ()),
            "pool_type": Param(choice("max", "avg", "sum", "lp"), "max"),
            "global_pool": Param(parse_bool, False),
            "cudnn_off": Param(parse_bool, False),
            "pooling_convention": Param(choice("valid", "full", "same"), "valid"),
            "stride": Param(parse_sizes, ()),
            "pad": Param(parse_lengths, ()),
            "p_value": Param(optional(parse_int), None),
            "count_include_pad": Param(optional(parse_bool), None),
            "layout": Param(optional(choice("NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC")), None),
        },
        hidden_outputs=lambda params: int(params["pool_type"] == "max"),
        complete=complete_pooling,
        infer_shape=pooling_shape,
    )
)
