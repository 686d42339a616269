"""Convolution."""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.lower.registry import lowers

CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
"""By the number of spatial axes."""

HINTS = ("kernel", "num_filter", "no_bias", "workspace", "cudnn_tune", "cudnn_off", "layout")
"""The weight carries its sizes; `ops` admits channels-first layouts only."""


@lowers("Convolution", hints=HINTS)
def convolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: tuple[int, ...],
    pad: tuple[int, ...],
    dilate: tuple[int, ...],
    num_group: int = 1,
) -> Tensor:
    """Correlate (N, C, …) with `weight` (filters, C / num_group, …)."""
    convolve = CONVOLUTIONS[data.dim() - 2]
    if torch.is_autocast_enabled("cpu") and _is_slow_in_bfloat16(data, weight, stride, num_group):
        with torch.autocast("cpu", enabled=False):
            return convolve(data.float(), weight, bias, stride, pad, dilate, num_group)
    return convolve(data, weight, bias, stride, pad, dilate, num_group)


def _is_slow_in_bfloat16(data: Tensor, weight: Tensor, stride: tuple[int, ...], num_group: int) -> bool:
    """Does oneDNN compute the backward of this one without vectors?

    It does for depthwise convolutions with a stride or a large window. In float32 they keep a bfloat16 training step of
    y1 a third faster (docs/LOG.md).
    """
    is_depthwise = num_group == data.shape[1] > 1
    return data.device.type == "cpu" and is_depthwise and (max(stride) > 1 or max(weight.shape[2:]) > 5)
