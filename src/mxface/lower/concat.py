"""Concat."""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.lower.registry import lowers


@lowers("Concat", hints=("num_args",))
def concat(*arrays: Tensor, dim: int = 1) -> Tensor:
    """Join the arrays along one axis."""
    return torch.cat(arrays, dim)
