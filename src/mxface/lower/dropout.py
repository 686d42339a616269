"""Dropout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mxface.lower.registry import lowers


@lowers("Dropout", hints=("cudnn_off",), only={"axes": ((),)})
def dropout(data: Tensor, *, p: float = 0.5, mode: str = "training", training: bool) -> Tensor:
    """Zero each element with probability `p`, scale the others by 1 / (1 - p); in training, or always by `mode`."""
    return F.dropout(data, p, training or mode == "always")
