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
    return CONVOLUTIONS[data.dim() - 2](data, weight, bias, stride, pad, dilate, num_group)
