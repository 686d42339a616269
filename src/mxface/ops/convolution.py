"""Convolution in one to three dimensions, channels first."""

from __future__ import annotations

from typing import Any

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, optional, parse_bool, parse_int, parse_lengths, parse_size, parse_sizes
from mxface.ops.shapes import (
    Inference,
    fill_window,
    from_data,
    require_channels_first,
    require_rank,
    window_positions,
)
from mxface.ops.spec import OpSpec, Params, Shape, register

LAYOUTS = ("NCW", "NCHW", "NCDHW", "NHWC", "NDHWC")
CUDNN_TUNE = ("off", "limited_workspace", "fastest")


@from_data
def convolution_shape(params: Params, data: Shape) -> Inference:
    kernel, filters, groups = params["kernel"], params["num_filter"], params["num_group"]
    require_channels_first(params["layout"])
    require_rank(data, 2 + len(kernel))
    require_groups(data[1], filters, groups)
    spatial = tuple(
        window_positions(size, k, stride, pad, dilate=dilate)
        for size, k, stride, pad, dilate in zip(
            data[2:], kernel, params["stride"], params["pad"], params["dilate"], strict=True
        )
    )
    slots = {"weight": (filters, data[1] // groups, *kernel), "bias": (filters,)}
    return slots, [(data[0], filters, *spatial)]


def require_groups(channels: int, filters: int, groups: int) -> None:
    if channels % groups or filters % groups:
        raise GraphError(f"num_group {groups} does not divide {channels} input channels and {filters} filters")


def complete_convolution(values: dict[str, Any]) -> None:
    fill_window(values, rank=len(values["kernel"]), one=("stride", "dilate"), zero=("pad",))


def without_bias(params: Params) -> tuple[str, ...]:
    return ("bias",) if params["no_bias"] else ()


CONVOLUTION = register(
    OpSpec(
        name="Convolution",
        params={
            "kernel": Param(parse_sizes),
            "stride": Param(parse_sizes, ()),
            "dilate": Param(parse_sizes, ()),
            "pad": Param(parse_lengths, ()),
            "num_filter": Param(parse_size),
            "num_group": Param(parse_size, 1),
            "workspace": Param(parse_int, 1024),
            "no_bias": Param(parse_bool, False),
            "cudnn_tune": Param(optional(choice(*CUDNN_TUNE)), None),
            "cudnn_off": Param(parse_bool, False),
            "layout": Param(optional(choice(*LAYOUTS)), None),
        },
        slots=("data", "weight", "bias"),
        unused_slots=without_bias,
        complete=complete_convolution,
        infer_shape=convolution_shape,
    )
)
