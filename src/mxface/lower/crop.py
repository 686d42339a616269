"""Crop."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers


@lowers("Crop", hints=("num_args",))
def crop(
    data: Tensor,
    crop_like: Tensor | None = None,
    *,
    h_w: tuple[int, ...] = (0, 0),
    offset: tuple[int, ...] = (0, 0),
    center_crop: bool = False,
) -> Tensor:
    """The window of `crop_like`'s height and width, or of `h_w`, at `offset` or in the centre."""
    height, width = h_w if crop_like is None else crop_like.shape[2:]
    top, left = ((data.shape[2] - height) // 2, (data.shape[3] - width) // 2) if center_crop else offset
    return data[:, :, top : top + height, left : left + width]
