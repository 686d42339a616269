"""Flatten."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers


@lowers("Flatten")
def flatten(data: Tensor) -> Tensor:
    """All axes but the first as one."""
    return data.reshape(data.shape[0], -1)
