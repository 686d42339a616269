"""The angular margin of 2019's recognition losses, as pure functions of the target cosine.

With t = arccos(cos_y), the target's logit is s * m(cos_y) where

    m(cos_y) = cos_y - m3                                   if m1 = 1 and m2 = 0      (nsoftmax, cosface)
    m(cos_y) = cos(m1*t [+ m2 if m2 > 0]) [- m3 if m3 > 0]  otherwise                 (arcface, combined, sphereface)

There is no easy margin and no fold-back past pi. The second rule ignores a negative m2 or m3, as 2019's train.py did.
Source: ArcFace (Deng et al. 2019), spec recognition §3.

At cos = +-1 the derivative of arccos is infinite and 2019's gradient was NaN. Here the cosine is first clamped to
+-(1 - 1e-7), and the derivative is taken at the clamped cosine. In float32 that limit rounds to 1 - 2**-23; in half
precision it would round to 1: give target cosines in float32 or float64 only.
"""

from __future__ import annotations

import torch
from torch import Tensor

COSINE_LIMIT = 1 - 1e-7


def is_cosine_shift(m1: float, m2: float) -> bool:
    """Whether the margin is a plain subtraction of m3, without arccos."""
    return m1 == 1 and m2 == 0


def clamp_cosine(cosine: Tensor) -> Tensor:
    """Limit `cosine` to +-COSINE_LIMIT; the gradient passes as if nothing had been clamped."""
    return cosine + (cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT) - cosine).detach()


def margin_cosine(cos_target: Tensor, m1: float, m2: float, m3: float) -> Tensor:
    """m(cos_y), of the shape of `cos_target`; differentiable by autograd."""
    if is_cosine_shift(m1, m2):
        return cos_target - m3
    cosine = torch.cos(_margin_angle(torch.arccos(clamp_cosine(cos_target)), m1, m2))
    return cosine - m3 if m3 > 0 else cosine


def margin_derivative(cos_target: Tensor, m1: float, m2: float) -> Tensor:
    """dm / dcos_y = m1 * sin(m1*t + m2) / sin(t), the true derivative of `margin_cosine`."""
    if is_cosine_shift(m1, m2):
        return torch.ones_like(cos_target)
    cosine = clamp_cosine(cos_target)
    sine = torch.sqrt((1 - cosine) * (1 + cosine))
    return m1 * torch.sin(_margin_angle(torch.arccos(cosine), m1, m2)) / sine


def _margin_angle(angle: Tensor, m1: float, m2: float) -> Tensor:
    return m1 * angle + m2 if m2 > 0 else m1 * angle
