"""What MXNet cannot show on the CPU: gradients of the modulated form; and how the two forms treat the border."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mxface.lower.convolution import convolution
from mxface.lower.deformable_convolution import deformable_convolution, modulated_deformable_convolution

WINDOW: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilate": (1, 1)}
SIZE = 5


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("modulated", [False, True])
def test_without_offsets_it_is_a_convolution(modulated: bool) -> None:
    data, weight, bias = random(2, 4, SIZE, SIZE), random(6, 4, 3, 3, seed=1), random(6, seed=2)
    offset = torch.zeros(2, 18, SIZE, SIZE, dtype=torch.float64)
    plain = convolution(data, weight, bias, **WINDOW)
    if modulated:
        mask = torch.full((2, 9, SIZE, SIZE), 0.5, dtype=torch.float64)
        result = 2 * modulated_deformable_convolution(data, offset, mask, weight, bias / 2, **WINDOW)
    else:
        result = deformable_convolution(data, offset, weight, bias, **WINDOW)
    torch.testing.assert_close(result, plain)


@pytest.mark.parametrize("modulated", [False, True])
def test_gradients_are_finite_differences(modulated: bool) -> None:
    """In data, offset, mask, weight and bias. Offsets stay off the whole pixels, where the value has a kink."""
    offset = 0.5 + 0.4 * torch.tanh(random(1, 16, 3, 3, seed=3)) + random(1, 16, 1, 1, seed=4).round()
    inputs = [random(1, 4, 3, 3), offset, random(1, 8, 3, 3, seed=5), random(2, 2, 2, 2, seed=1), random(2, seed=2)]
    settings: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilate": (2, 2), "num_group": 2}

    def run(*given: Tensor) -> Tensor:
        if modulated:
            return modulated_deformable_convolution(*given, **settings, num_deformable_group=2)
        data, offset, _, weight, bias = given
        return deformable_convolution(data, offset, weight, bias, **settings, num_deformable_group=2)

    leaves = [value.detach().requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, check_undefined_grad=False)


@pytest.mark.parametrize(
    ("row", "plain", "modulated"),
    [
        (-1.0, 0.0, 0.0),
        (-0.25, 0.0, 0.75 * 1),
        (0.0, 1.0, 1.0),
        (1.5, 2.5, 2.5),
        (4.0, 5.0, 5.0),
        (4.25, 5.0, 0.75 * 5),
        (5.0, 0.0, 0.0),
        (9.0, 0.0, 0.0),
    ],
)
def test_beyond_the_border(row: float, plain: float, modulated: float) -> None:
    """A column of 1, 2, … 5, read at `row`."""
    data = torch.arange(1.0, 1 + SIZE).view(1, 1, SIZE, 1)
    offset = torch.zeros(1, 2, SIZE, 1)
    offset[0, 0] = row - torch.arange(float(SIZE)).view(SIZE, 1)
    ones = torch.ones(1, 1, 1, 1)
    window: dict[str, Any] = {"stride": (1, 1), "pad": (0, 0), "dilate": (1, 1)}
    assert deformable_convolution(data, offset, ones, **window).unique().tolist() == [plain]
    mask = torch.ones(1, 1, SIZE, 1)
    assert modulated_deformable_convolution(data, offset, mask, ones, **window).unique().tolist() == [modulated]
