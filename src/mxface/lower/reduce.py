"""sum, mean, max, min."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mxface.lower.registry import lowers
from mxface.ops.reduce import reduced_axes

Axes = tuple[int, ...] | None


def _reduce(
    function: Callable[[Tensor, tuple[int, ...], bool], Tensor], data: Tensor, axis: Axes, keepdims: bool, exclude: bool
) -> Tensor:
    axes = reduced_axes({"axis": axis, "exclude": exclude}, data.dim())
    if not axes:
        return data
    result = function(data, axes, keepdims)
    return result if result.dim() else result.reshape(1)  # MXNet has no arrays without an axis


@lowers("sum")
def sum_over(data: Tensor, *, axis: Axes = None, keepdims: bool = False, exclude: bool = False) -> Tensor:
    """Sum over the named axes (all others with `exclude`), or over everything."""
    return _reduce(torch.sum, data, axis, keepdims, exclude)


@lowers("mean")
def mean_over(data: Tensor, *, axis: Axes = None, keepdims: bool = False, exclude: bool = False) -> Tensor:
    """Mean over the named axes (all others with `exclude`), or over everything."""
    return _reduce(torch.mean, data, axis, keepdims, exclude)


@lowers("max")
def max_over(data: Tensor, *, axis: Axes = None, keepdims: bool = False, exclude: bool = False) -> Tensor:
    """Largest value over the named axes (all others with `exclude`), or over everything."""
    return _reduce(torch.amax, data, axis, keepdims, exclude)


@lowers("min")
def min_over(data: Tensor, *, axis: Axes = None, keepdims: bool = False, exclude: bool = False) -> Tensor:
    """Smallest value over the named axes (all others with `exclude`), or over everything."""
    return _reduce(torch.amin, data, axis, keepdims, exclude)
