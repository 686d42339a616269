"""L2Normalization."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers


@lowers("L2Normalization")
def l2_normalization(data: Tensor, *, eps: float = 1e-10, mode: str = "instance") -> Tensor:
    """x / sqrt(sum of x^2 + eps), the sum over an instance, the channels, or the positions."""
    axes = {"instance": range(1, data.dim()), "channel": (1,), "spatial": range(2, data.dim())}[mode]
    return data / (data.square().sum(tuple(axes), keepdim=True) + eps).sqrt()
