"""PReLU's own backward: the bits of torch's, and bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mxface.lower.leaky_relu import prelu


def gradients(function: object, data: Tensor, slope: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    data, slope = data.clone().requires_grad_(), slope.clone().requires_grad_()
    result = function(data, slope)  # type: ignore[operator]
    result.backward(weights)
    assert data.grad is not None and slope.grad is not None
    return result.detach(), data.grad, slope.grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("slopes", [1, 6])
def test_float32_equals_torch(layout: torch.memory_format, slopes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(5, 6, 7, 9, generator=generator).to(memory_format=layout)
    data[0, :, 0, 0] = 0.0  # where the derivative jumps, MXNet and torch both take the slope
    slope = torch.rand(slopes, generator=generator)
    weights = torch.randn(5, 6, 7, 9, generator=generator).to(memory_format=layout)
    ours, theirs = gradients(prelu, data, slope, weights), gradients(torch.prelu, data, slope, weights)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    torch.testing.assert_close(ours[2], theirs[2], rtol=1e-6, atol=1e-6)  # the order of the sum differs
    assert ours[1].is_contiguous(memory_format=layout)


def test_bfloat16_sums_the_slopes_gradient_in_float32() -> None:
    data = -torch.ones(4096, 1, dtype=torch.bfloat16)
    _, _, gradient = gradients(prelu, data, torch.full((1,), 0.25), torch.ones_like(data))
    assert gradient.dtype == torch.float32
    assert gradient.item() == -4096.0  # bfloat16 alone would stop at -256


def test_no_gradient_is_needed() -> None:
    assert torch.equal(prelu(torch.tensor([[-2.0, 3.0]]), torch.tensor([0.5])), torch.tensor([[-1.0, 3.0]]))
