"""one_hot."""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.lower.registry import lowers


@lowers("one_hot")
def one_hot(
    indices: Tensor, *, depth: int, on_value: float = 1.0, off_value: float = 0.0, dtype: str = "float32"
) -> Tensor:
    """Rows of `depth` values; an index outside gives a row of `off_value` alone."""
    hits = indices.long().unsqueeze(-1) == torch.arange(depth, device=indices.device)
    values = torch.tensor([off_value, on_value], dtype=getattr(torch, dtype), device=indices.device)
    return torch.where(hits, values[1], values[0])
