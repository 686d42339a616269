"""BatchNorm beyond test_operators: one value a channel, bfloat16, fix_gamma, repeated steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mxface.lower.batch_norm import batch_norm


def parameters(channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gamma = torch.full((channels,), 1.2396, requires_grad=True)
    beta = torch.zeros(channels, requires_grad=True)
    return gamma, beta, torch.zeros(channels), torch.ones(channels)


def test_moving_statistics_weigh_the_old_value_and_take_the_biased_variance() -> None:
    data = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 3 + 1
    gamma, beta, mean, variance = parameters(3)
    for _ in range(3):
        batch_norm(data, gamma, beta, mean, variance, momentum=0.8, fix_gamma=False, training=True)
    values = data.numpy().astype(np.float64)
    np.testing.assert_allclose(mean, (1 - 0.8**3) * values.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.8**3 + (1 - 0.8**3) * values.var((0, 2, 3)), rtol=1e-5)


def test_one_value_a_channel_has_variance_zero() -> None:
    gamma, beta, mean, variance = parameters(2)
    result = batch_norm(torch.tensor([[3.0, -4.0]]), gamma, beta, mean, variance, training=True)
    torch.testing.assert_close(result.detach(), torch.zeros(1, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(variance, torch.full((2,), 0.9))


def test_fixed_gamma_is_overwritten_and_gets_a_zero_gradient() -> None:
    gamma, beta, mean, variance = parameters(3)
    batch_norm(torch.randn(8, 3), gamma, beta, mean, variance, training=True).square().sum().backward()
    assert torch.equal(gamma.detach(), torch.ones(3))
    assert gamma.grad is not None and not gamma.grad.any()
    assert beta.grad is not None and beta.grad.any()


def test_fixed_gamma_is_only_ignored_in_inference() -> None:
    gamma, beta, mean, variance = parameters(3)
    data = torch.randn(8, 3)
    result = batch_norm(data, gamma, beta, mean, variance, eps=0.0, training=False)
    torch.testing.assert_close(result.detach(), data)
    assert torch.equal(gamma.detach(), torch.full((3,), 1.2396))


def test_bfloat16_data_keeps_float32_statistics_and_the_layout() -> None:
    data = torch.randn(4, 8, 6, 6).to(torch.bfloat16, memory_format=torch.channels_last)
    gamma, beta, mean, variance = parameters(8)
    with torch.autocast("cpu", torch.bfloat16):
        result = batch_norm(data, gamma, beta, mean, variance, fix_gamma=False, training=True)
    result.sum().backward()
    assert result.dtype == torch.bfloat16
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert mean.dtype == variance.dtype == torch.float32
    torch.testing.assert_close(mean, 0.1 * data.float().mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
