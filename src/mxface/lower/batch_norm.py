"""BatchNorm, with MXNet's moving averages and its treatment of `fix_gamma`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mxface.lower.gradient import apply
from mxface.lower.registry import lowers


class FixedGamma(torch.autograd.Function):
    """Ones in place of a gamma that takes no part; its gradient is zero, not absent: weight decay still shrinks it."""

    @staticmethod
    def forward(_ctx: Any, gamma: Tensor) -> Tensor:
        return torch.ones_like(gamma)

    @staticmethod
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        return torch.zeros_like(grad)


@lowers("BatchNorm", hints=("cudnn_off", "min_calib_range", "max_calib_range"))
def batch_norm(
    data: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Tensor,
    moving_var: Tensor,
    *,
    eps: float = 1e-3,
    momentum: float = 0.9,
    fix_gamma: bool = True,
    use_global_stats: bool = False,
    axis: int = 1,
    training: bool,
) -> Tensor:
    """Normalise over all axes but `axis`.

    A training forward (unless `use_global_stats`) uses the batch's statistics and updates the moving ones in place. As
    MXNet does, it writes 1 into a `gamma` that `fix_gamma` leaves out.
    """
    if axis % data.dim() != 1:
        data = data.movedim(axis, 1)
    scale = gamma
    if fix_gamma:
        if training:
            gamma.data.fill_(1.0)
        scale = apply(FixedGamma, gamma)
    if training and not use_global_stats:
        result = _normalize_by_batch(data, scale, beta, moving_mean, moving_var, eps, momentum)
    else:
        result = torch.batch_norm(data, scale, beta, moving_mean, moving_var, False, 0.0, eps, True)
    return result if axis % data.dim() == 1 else result.movedim(1, axis)


def _normalize_by_batch(
    data: Tensor, scale: Tensor, beta: Tensor, moving_mean: Tensor, moving_var: Tensor, eps: float, momentum: float
) -> Tensor:
    # torch's momentum weighs the new value: with 1 it hands out the batch's own statistics, at no second pass over data
    mean, variance = torch.zeros_like(moving_mean), torch.zeros_like(moving_var)
    result = torch.batch_norm(data, scale, beta, mean, variance, True, 1.0, eps, True)
    count = data.numel() // data.shape[1]
    with torch.no_grad():
        # MXNet's momentum weighs the old value; it averages the biased variance, torch the unbiased (NaN for one value)
        biased = variance * ((count - 1) / count) if count > 1 else torch.zeros_like(variance)
        moving_mean.mul_(momentum).add_(mean, alpha=1 - momentum)
        moving_var.mul_(momentum).add_(biased, alpha=1 - momentum)
    return result
