"""Convolution under bfloat16 autocast: what oneDNN is slow at stays float32; test_operators has the rest."""

from __future__ import annotations

import pytest
import torch

from mxface.lower.convolution import convolution


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "expected"),
    [
        (3, 1, 8, torch.bfloat16),
        (3, 2, 1, torch.bfloat16),
        (3, 2, 4, torch.bfloat16),
        (3, 2, 8, torch.float32),
        (7, 1, 8, torch.float32),
    ],
)
def test_type_under_autocast(kernel: int, stride: int, groups: int, expected: torch.dtype) -> None:
    data = torch.randn(2, 8, 7, 7)
    weight = torch.randn(8, 8 // groups, kernel, kernel)
    settings = {"stride": (stride, stride), "pad": (0, 0), "dilate": (1, 1), "num_group": groups}
    with torch.autocast("cpu", torch.bfloat16):
        result = convolution(data.bfloat16(), weight, **settings)
    assert result.dtype == expected
    exact = convolution(data.bfloat16().float(), weight, **settings)
    assert exact.dtype == torch.float32
    torch.testing.assert_close(result.float(), exact, rtol=2e-2, atol=0.2)
