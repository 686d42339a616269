"""slice, slice_axis."""

from __future__ import annotations

from itertools import zip_longest

from torch import Tensor

from mxface.lower.registry import lowers

Bounds = tuple[int | None, ...]


@lowers("slice")
def slice_array(data: Tensor, *, begin: Bounds, end: Bounds, step: Bounds = ()) -> Tensor:
    """Python's slices of the leading axes; a negative step reads backwards."""
    for axis, (start, stop, stride) in enumerate(zip_longest(begin, end, step)):
        if stride is not None and stride < 0:  # torch's slices only go forward
            picked = range(data.shape[axis])[start:stop:stride]
            data = data.narrow(axis, picked[-1], picked[0] - picked[-1] + 1).flip(axis)
            start, stop, stride = 0, None, -stride
        data = data[(slice(None),) * axis + (slice(start, stop, stride),)]
    return data


@lowers("slice_axis")
def slice_axis(data: Tensor, *, axis: int, begin: int, end: int | None) -> Tensor:
    """Python's slice of one axis."""
    start, stop, _ = slice(begin, end).indices(data.shape[axis])
    return data.narrow(axis, start, stop - start)
