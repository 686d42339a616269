"""FullyConnected."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mxface.lower.registry import lowers


@lowers("FullyConnected", hints=("num_hidden", "no_bias"))
def fully_connected(data: Tensor, weight: Tensor, bias: Tensor | None = None, *, flatten: bool = True) -> Tensor:
    """`weight` (num_hidden, features) and bias, on all features of an instance, or (`flatten` off) on the last axis."""
    return F.linear(data.flatten(1) if flatten else data, weight, bias)
