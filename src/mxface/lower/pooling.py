"""Pooling, with MXNet's conventions for the size and for the border."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mxface.errors import GraphError
from mxface.lower.registry import lowers
from mxface.ops.shapes import window_positions

MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
GLOBAL_MAX_POOLS = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
"""By the number of spatial axes."""


@lowers(
    "Pooling",
    hints=("cudnn_off", "layout"),
    only={"pool_type": ("max", "avg"), "pooling_convention": ("valid", "full"), "p_value": (None,)},
)
def pooling(
    data: Tensor,
    *,
    kernel: tuple[int, ...] = (),
    pool_type: str = "max",
    stride: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    pooling_convention: str = "valid",
    count_include_pad: bool | None = None,
    global_pool: bool = False,
) -> Tensor:
    """The largest or the mean value of every window, or of the whole map.

    The convention rounds the number of windows down (`valid`) or up (`full`). A mean counts the padding unless
    `count_include_pad` is False, but never what `full` adds beyond it.
    """
    spatial = data.dim() - 2
    if global_pool:
        return (
            GLOBAL_MAX_POOLS[spatial](data, 1) if pool_type == "max" else data.mean(tuple(range(2, data.dim())), True)
        )
    round_up = pooling_convention == "full"
    if round_up:
        _refuse_empty_windows(data.shape[2:], kernel, stride, pad)
    if pool_type == "max":
        return MAX_POOLS[spatial](data, kernel, stride, pad, ceil_mode=round_up)
    return AVERAGE_POOLS[spatial](data, kernel, stride, pad, round_up, count_include_pad is not False)


def _refuse_empty_windows(
    sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]
) -> None:
    # where the stride exceeds the kernel, rounding up can X: torch drops it, MXNet does not
    for size, k, s, p in zip(sizes, kernel, stride, pad, strict=True):
        last_start = (window_positions(size, k, s, p, round_up=True) - 1) * s
        if last_start >= size + p:
            raise GraphError(
                f"Pooling of {size} positions (kernel {k}, stride {s}, pad {p}, full): the last window is empty"
            )
