"""Reshape."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers
from mxface.ops.reshape import resolve_reshape


@lowers("Reshape")
def reshape(data: Tensor, *, shape: tuple[int, ...] = (), reverse: bool = False) -> Tensor:
    """The same values in the shape that MXNet's codes ask for, read from the right with `reverse`."""
    sizes = tuple(data.shape)
    if reverse:
        return data.reshape(resolve_reshape(sizes[::-1], shape[::-1])[::-1])
    return data.reshape(resolve_reshape(sizes, shape))
