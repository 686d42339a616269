"""LeakyReLU and its relatives, with a PReLU whose backward is fast on the CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mxface.lower.gradient import apply
from mxface.lower.registry import lowers


class PRelu(torch.autograd.Function):
    """PReLU with the true derivative; `slope` (C,) for axis 1, or (1,) for all.

    torch's own backward goes one element at a time (37 % of a bfloat16 training step); these vectorised passes give the
    same float32 bits (`tests/lower/test_leaky_relu.py`). The slope's gradient is summed in float32.
    """

    @staticmethod
    def forward(ctx: Any, data: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(data, slope)
        return torch.prelu(data, slope.to(data.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        data, slope = ctx.saved_tensors
        channel_shape = (-1,) + (1,) * (data.dim() - 2)
        where_positive = torch.ops.aten.threshold_backward(grad, data, 0)
        elsewhere = grad - where_positive
        grad_data = where_positive.addcmul_(elsewhere, slope.to(data.dtype).view(channel_shape))
        products = elsewhere.mul_(data)
        if slope.numel() == 1:
            return grad_data, products.sum(dtype=slope.dtype).view(slope.shape)
        axes = [axis for axis in range(data.dim()) if axis != 1]
        return grad_data, products.sum(axes, dtype=slope.dtype)


def prelu(data: Tensor, slope: Tensor) -> Tensor:
    """x where positive, slope * x elsewhere."""
    learns = torch.is_grad_enabled() and (data.requires_grad or slope.requires_grad)
    if learns and data.device.type == "cpu":  # on a GPU torch's own backward is one kernel
        return apply(PRelu, data, slope)
    return torch.prelu(data, slope.to(data.dtype))


@lowers("LeakyReLU", hints=("lower_bound", "upper_bound"), only={"act_type": ("leaky", "prelu", "elu", "gelu")})
def leaky_relu(data: Tensor, gamma: Tensor | None = None, *, act_type: str = "leaky", slope: float = 0.25) -> Tensor:
    """The function that `act_type` names; `slope` is that of leaky and elu, `gamma` prelu's."""
    if act_type == "prelu":
        assert gamma is not None
        return prelu(data, gamma)
    if act_type == "leaky":
        return F.leaky_relu(data, slope)
    return F.elu(data, slope) if act_type == "elu" else F.gelu(data)
