"""SliceChannel."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers


@lowers("SliceChannel")
def slice_channel(
    data: Tensor, *, num_outputs: int, axis: int = 1, squeeze_axis: bool = False
) -> Tensor | tuple[Tensor, ...]:
    """Equal parts along an axis, without that axis if `squeeze_axis`; a lone part comes as it is."""
    parts = data.chunk(num_outputs, axis)
    if squeeze_axis:
        parts = tuple(part.squeeze(axis) for part in parts)
    return parts if num_outputs > 1 else parts[0]
