"""_copy, BlockGrad, MakeLoss, make_loss: the input, with a gradient of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mxface.lower.gradient import apply
from mxface.lower.registry import lowers


class LossStart(torch.autograd.Function):
    """The input; its gradient is one number everywhere, whatever comes from above."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, gradient: float | Tensor) -> Tensor:
        ctx.gradient = gradient
        return data.view_as(data)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.ones_like(grad) * ctx.gradient, None


@lowers("_copy")
def copy(data: Tensor) -> Tensor:
    """The input itself: nothing here writes in place."""
    return data


@lowers("BlockGrad")
def block_grad(data: Tensor) -> Tensor:
    """The input, cut off from the gradient."""
    return data.detach()


@lowers("MakeLoss")
def scaled_loss(
    data: Tensor, *, grad_scale: float = 1.0, valid_thresh: float = 0.0, normalization: str = "null"
) -> Tensor:
    """A loss whose gradient is `grad_scale`, over the batch size or over the number of values above `valid_thresh`."""
    gradient: float | Tensor = grad_scale
    if normalization == "batch":
        gradient = grad_scale / data.shape[0]
    elif normalization == "valid":
        gradient = grad_scale / (data > valid_thresh).sum().clamp(min=1)
    return apply(LossStart, data, gradient)


@lowers("make_loss")
def make_loss(data: Tensor) -> Tensor:
    """A loss whose gradient is 1."""
    return apply(LossStart, data, 1.0)
