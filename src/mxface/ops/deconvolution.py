"""Deconvolution: the transpose of a convolution; without a bias unless asked for."""

from __future__ import annotations

from typing import Any

from mxface.ops.convolution import CUDNN_TUNE, LAYOUTS, require_groups, without_bias
from mxface.ops.params import Param, choice, optional, parse_bool, parse_int, parse_lengths, parse_size, parse_sizes
from mxface.ops.shapes import Inference, fill_window, from_data, require_channels_first, require_rank
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def deconvolution_shape(params: Params, data: Shape) -> Inference:
    kernel, filters, groups = params["kernel"], params["num_filter"], params["num_group"]
    require_channels_first(params["layout"])
    require_rank(data, 2 + len(kernel))
    require_groups(data[1], filters, groups)
    spatial = params["target_shape"] or tuple(
        stride * (size - 1) + dilate * (k - 1) + 1 - 2 * pad + adj
        for size, k, stride, pad, dilate, adj in zip(
            data[2:], kernel, params["stride"], params["pad"], params["dilate"], params["adj"], strict=True
        )
    )
    slots = {"weight": (data[1], filters // groups, *kernel), "bias": (filters,)}
    return slots, [(data[0], filters, *spatial)]


def complete_deconvolution(values: dict[str, Any]) -> None:
    fill_window(values, rank=len(values["kernel"]), one=("stride", "dilate"), zero=("pad", "adj"))


DECONVOLUTION = register(
    OpSpec(
        name="Deconvolution",
        params={
            "kernel": Param(parse_sizes),
            "stride": Param(parse_sizes, ()),
            "dilate": Param(parse_sizes, ()),
            "pad": Param(parse_lengths, ()),
            "adj": Param(parse_lengths, ()),
            "target_shape": Param(parse_sizes, ()),
            "num_filter": Param(parse_size),
            "num_group": Param(parse_size, 1),
            "workspace": Param(parse_int, 512),
            "no_bias": Param(parse_bool, True),
            "cudnn_tune": Param(optional(choice(*CUDNN_TUNE)), None),
            "cudnn_off": Param(parse_bool, False),
            "layout": Param(optional(choice(*LAYOUTS)), None),
        },
        slots=("data", "weight", "bias"),
        unused_slots=without_bias,
        complete=complete_deconvolution,
        infer_shape=deconvolution_shape,
    )
)
