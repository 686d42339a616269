"""transpose, expand_dims, reverse, tile."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers


@lowers("transpose")
def transpose(data: Tensor, *, axes: tuple[int, ...] = ()) -> Tensor:
    """Permute the axes; without any named, turn their order round."""
    return data.permute(axes or tuple(reversed(range(data.dim()))))


@lowers("expand_dims")
def expand_dims(data: Tensor, *, axis: int) -> Tensor:
    """Insert an axis of size 1."""
    return data.unsqueeze(axis)


@lowers("reverse")
def reverse(data: Tensor, *, axis: tuple[int, ...]) -> Tensor:
    """Turn the order of elements round along the axes."""
    return data.flip(axis)


@lowers("tile")
def tile(data: Tensor, *, reps: tuple[int, ...]) -> Tensor:
    """Repeat the whole array along each axis; missing counts, in front, are 1."""
    return data.tile(reps)
