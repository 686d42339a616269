"""Deconvolution."""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.lower.convolution import HINTS
from mxface.lower.registry import lowers

TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


@lowers("Deconvolution", hints=HINTS, only={"target_shape": ((),)})
def deconvolution(
    data: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: tuple[int, ...],
    pad: tuple[int, ...],
    adj: tuple[int, ...],
    dilate: tuple[int, ...],
    num_group: int = 1,
) -> Tensor:
    """The transpose of a convolution; `weight` is (C, filters / num_group, …), `adj` widens the result."""
    return TRANSPOSED[data.dim() - 2](data, weight, bias, stride, pad, adj, num_group, dilate)
