"""Deformable convolution by gathering and one matrix product: differentiable in data, offsets, mask and weights.

The two forms differ at the border. In the plain form a tap whose centre is outside [0, H) x [0, W) counts as 0, and
one between the last two lines takes the last one alone. In the modulated form the map is surrounded by zeros, and
the four neighbours of a tap are mixed, whether inside or not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mxface.lower.registry import lowers

HINTS = ("kernel", "num_filter", "no_bias", "workspace", "layout", "im2col_step")
"""The weight carries its sizes."""

Window = tuple[int, ...]
Corners = list[tuple[Tensor, Tensor]]
"""Of one axis: where the two neighbours of each position are, and what each counts."""


@lowers("_contrib_DeformableConvolution", hints=HINTS)
def deformable_convolution(
    data: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Window,
    pad: Window,
    dilate: Window,
    num_group: int = 1,
    num_deformable_group: int = 1,
) -> Tensor:
    positions = tap_positions(offset, weight, stride, pad, dilate, num_deformable_group)
    taps = gather_taps(data, positions, clamped_corners)
    return multiply(taps, weight, bias, num_group)


@lowers("_contrib_ModulatedDeformableConvolution", hints=HINTS)
def modulated_deformable_convolution(
    data: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Window,
    pad: Window,
    dilate: Window,
    num_group: int = 1,
    num_deformable_group: int = 1,
) -> Tensor:
    positions = tap_positions(offset, weight, stride, pad, dilate, num_deformable_group)
    taps = gather_taps(data, positions, padded_corners)
    batch, groups, _, kernel, height, width = taps.shape
    return multiply(taps * mask.reshape(batch, groups, 1, kernel, height, width), weight, bias, num_group)


def tap_positions(
    offset: Tensor, weight: Tensor, stride: Window, pad: Window, dilate: Window, groups: int
) -> list[Tensor]:
    """Rows and columns of every tap, each (N, deformable groups, taps, H', W')."""
    batch, _, height, width = offset.shape
    kernel_height, kernel_width = weight.shape[2:]
    taps = kernel_height * kernel_width
    moves = offset.reshape(batch, groups, taps, 2, height, width)

    def grid(size: int, axis: int) -> Tensor:
        return torch.arange(size, dtype=offset.dtype, device=offset.device) * stride[axis] - pad[axis]

    def kernel(size: int, axis: int) -> Tensor:
        return torch.arange(size, dtype=offset.dtype, device=offset.device) * dilate[axis]

    rows = kernel(kernel_height, 0).repeat_interleave(kernel_width).view(taps, 1, 1) + grid(height, 0).view(height, 1)
    columns = kernel(kernel_width, 1).repeat(kernel_height).view(taps, 1, 1) + grid(width, 1)
    return [moves[:, :, :, 0] + rows, moves[:, :, :, 1] + columns]


def gather_taps(data: Tensor, positions: list[Tensor], corners: Callable[[Tensor, int], Corners]) -> Tensor:
    """Bilinear values (N, deformable groups, C / groups, taps, H', W')."""
    batch, channels, height, width = data.shape
    rows, columns = positions
    groups = rows.shape[1]
    flat = data.reshape(batch, groups, channels // groups, height * width)
    taps: Tensor | None = None
    for row, row_share in corners(rows, height):
        for column, column_share in corners(columns, width):
            index = (row * width + column).reshape(batch, groups, 1, -1).expand(-1, -1, channels // groups, -1)
            part = flat.gather(3, index).view(batch, groups, channels // groups, *rows.shape[2:])
            part = part * (row_share * column_share).unsqueeze(2)
            taps = part if taps is None else taps + part
    assert taps is not None
    return taps


def clamped_corners(position: Tensor, size: int) -> Corners:
    """Nothing outside [0, size); from size - 1 on the last line alone."""
    inside = (position >= 0) & (position < size)
    low = position.detach().floor().clamp(0, size - 1)
    share = torch.where(low < size - 1, position - low, 0)
    high = (low + 1).clamp(max=size - 1)
    return [(low.long(), (1 - share) * inside), (high.long(), share * inside)]


def padded_corners(position: Tensor, size: int) -> Corners:
    """Zeros all around: a neighbour outside counts nothing, and so do both beyond one line."""
    low = position.detach().floor()
    share = position - low
    return [
        (line.clamp(0, size - 1).long(), part * ((line >= 0) & (line < size)))
        for line, part in ((low, 1 - share), (low + 1, share))
    ]


def multiply(taps: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """The taps under the weight (filters, C / groups, kernel): (N, filters, H', W')."""
    batch = taps.shape[0]
    height, width = taps.shape[-2:]
    columns = taps.reshape(batch, groups, -1, height * width)
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    result = (kernels @ columns).view(batch, weight.shape[0], height, width)
    return result if bias is None else result + bias.view(-1, 1, 1)
