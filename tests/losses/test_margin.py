"""Properties of the margin functions: derivative, edges, 2019's rules."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mxface.losses.margin import clamp_cosine, margin_cosine, margin_derivative
from mxface.symbols.heads import MARGINS, Margin

ALL_MARGINS = [*MARGINS.values(), Margin(0.9, 0.4, 0.15), Margin(2.0, 0.5, 0.1)]
INNER_COSINES = torch.linspace(-0.999, 0.999, 41, dtype=torch.float64)


@pytest.mark.parametrize("margin", ALL_MARGINS)
def test_derivative_is_the_one_of_the_value(margin: Margin) -> None:
    cosine = INNER_COSINES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: margin_cosine(c, *margin), (cosine,))
    (gradient,) = torch.autograd.grad(margin_cosine(cosine, *margin).sum(), cosine)
    torch.testing.assert_close(margin_derivative(cosine, margin.m1, margin.m2).detach(), gradient, rtol=1e-10, atol=0)


@given(st.floats(-1, 1), st.floats(0.5, 4), st.floats(0, 1), st.floats(0, 0.5))
def test_value_follows_the_formula(cosine: float, m1: float, m2: float, m3: float) -> None:
    value = margin_cosine(torch.tensor(cosine, dtype=torch.float64), m1, m2, m3).item()
    if m1 == 1 and m2 == 0:
        assert value == pytest.approx(cosine - m3, abs=1e-12)
    else:
        assert value == pytest.approx(
            math.cos(m1 * math.acos(cosine) + m2) - m3, abs=3e-3 if abs(cosine) > 0.999 else 1e-9
        )


def test_no_margin_changes_nothing() -> None:
    assert torch.equal(margin_cosine(INNER_COSINES, *MARGINS["nsoftmax"]), INNER_COSINES)


def test_no_fold_back_beyond_pi() -> None:
    angles = torch.tensor([math.pi - 0.5, math.pi - 0.2], dtype=torch.float64)
    lowest, beyond = margin_cosine(torch.cos(angles), 1.0, 0.5, 0.0).tolist()
    assert lowest == pytest.approx(-1)
    assert beyond == pytest.approx(math.cos(math.pi + 0.3))  # above -1 again: the plain cosine, no monotonic extension


def test_negative_margins_as_in_2019() -> None:
    arccos_chain = margin_cosine(INNER_COSINES, 1.5, -0.5, -0.3)
    torch.testing.assert_close(arccos_chain, margin_cosine(INNER_COSINES, 1.5, 0.0, 0.0))
    torch.testing.assert_close(margin_cosine(INNER_COSINES, 1.0, 0.0, -0.3), INNER_COSINES + 0.3)


@pytest.mark.parametrize("margin", ALL_MARGINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_and_over_the_ends(margin: Margin, dtype: torch.dtype) -> None:
    ends = torch.tensor([1.0, -1.0, 1.0000002, -1.0000002], dtype=dtype, requires_grad=True)
    value = margin_cosine(ends, *margin)
    (gradient,) = torch.autograd.grad(value.sum(), ends)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(gradient, margin_derivative(ends, margin.m1, margin.m2).detach(), rtol=1e-3, atol=1e-3)


def test_gradient_at_the_end_is_the_one_at_the_clamped_cosine() -> None:
    end = torch.ones((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(margin_cosine(end, 1.0, 0.5, 0.0), end)
    angle = math.acos(1 - 1e-7)
    assert gradient.item() == pytest.approx(math.sin(angle + 0.5) / math.sin(angle), rel=1e-6)


def test_float32_limit() -> None:
    assert clamp_cosine(torch.ones(())).item() == 1 - 2**-23
