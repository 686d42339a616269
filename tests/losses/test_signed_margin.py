"""train_parall.py's margin: the plain formula for either sign, with its derivative by autograd."""

from __future__ import annotations

import pytest
import torch

from mxface.losses.margin import BatchRows, CombinedMargin
from mxface.losses.signed_margin import SignedMargin

COSINES = torch.linspace(-0.99, 0.99, 23, dtype=torch.float64)


def rows(cosine: torch.Tensor) -> BatchRows:
    return BatchRows(cosine, torch.ones_like(cosine))


@pytest.mark.parametrize("margin", [(1.0, -0.3, 0.0), (1.0, 0.0, -0.2), (1.2, -0.1, -0.2), (1.0, 0.5, 0.0)])
def test_is_the_formula(margin: tuple[float, float, float]) -> None:
    m1, m2, m3 = margin
    cosine = COSINES.clone().requires_grad_()
    expected = torch.cos(m1 * torch.arccos(cosine) + m2) - m3
    (slope,) = torch.autograd.grad(expected.sum(), cosine)
    found = SignedMargin(*margin).target(rows(COSINES))
    torch.testing.assert_close(found.cosine, expected.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.slope, slope, rtol=1e-10, atol=1e-10)


def test_differs_from_the_other_command_for_negative_values_only() -> None:
    for margin in ((1.0, 0.3, 0.2), (1.0, 0.0, 0.35), (1.5, 0.0, 0.0)):
        signed, combined = (rule(*margin).target(rows(COSINES)) for rule in (SignedMargin, CombinedMargin))
        assert torch.equal(signed.cosine, combined.cosine)
    assert not torch.equal(
        SignedMargin(1.0, -0.3, 0.0).target(rows(COSINES)).cosine,
        CombinedMargin(1.0, -0.3, 0.0).target(rows(COSINES)).cosine,
    )


def test_share_scales_the_margin() -> None:
    rule = SignedMargin(1.4, -0.4, 0.2)
    rule.share = 0.5
    half = SignedMargin(1.2, -0.2, 0.1).target(rows(COSINES))
    torch.testing.assert_close(rule.target(rows(COSINES)).cosine, half.cosine)
