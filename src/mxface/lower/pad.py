"""Pad."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mxface.lower.registry import lowers

TORCH_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}


@lowers("Pad")
def pad(data: Tensor, *, mode: str, pad_width: tuple[int, ...], constant_value: float = 0.0) -> Tensor:
    """`pad_width` holds (before, after) of every axis, first axis first."""
    # torch counts from the last axis, and its other modes take the spatial axes only, as MXNet's
    pairs = list(zip(pad_width[::2], pad_width[1::2], strict=True))
    if mode != "constant":
        pairs = pairs[2:]
    widths = [width for pair in reversed(pairs) for width in pair]
    return F.pad(data, widths, TORCH_MODES[mode], constant_value if mode == "constant" else None)
