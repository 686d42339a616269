"""UpSampling."""

from __future__ import annotations

import operator
from functools import reduce

import torch
from torch import Tensor

from mxface.lower.registry import lowers


@lowers("UpSampling", hints=("sample_type", "num_filter", "num_args", "workspace"))
def upsampling(*maps: Tensor, scale: int, multi_input_mode: str = "concat") -> Tensor:
    """Repeat every value `scale` times both ways; further maps, brought to the same size, are joined or added."""
    height, width = maps[0].shape[2] * scale, maps[0].shape[3] * scale
    repeated = [
        data.repeat_interleave(height // data.shape[2], 2).repeat_interleave(width // data.shape[3], 3) for data in maps
    ]
    return reduce(operator.add, repeated) if multi_input_mode == "sum" else torch.cat(repeated, 1)
