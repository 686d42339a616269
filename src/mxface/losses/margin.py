"""The angular margin of 2019's recognition losses, as pure functions of the target cosine, and what any loss is asked.

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

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

COSINE_LIMIT = 1 - 1e-7


ChangeOthers = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Plain logits (K, B) of classes that are not the target -> the loss's logits, and their derivatives by the plain ones.

New tensors; a logit of -inf has the derivative 0."""


class TargetMargin(NamedTuple):
    """What a loss makes of each row's target, all (B,); None for nothing.

    `cosine` takes the place of the target's cosine; `slope` is its derivative by that, `norm_slope` by the length |x|
    of the embedding. `penalty` is added to the row's loss, with derivatives `penalty_slope` and `penalty_norm_slope`.
    """

    cosine: Tensor
    slope: Tensor
    norm_slope: Tensor | None = None
    penalty: Tensor | None = None
    penalty_slope: Tensor | None = None
    penalty_norm_slope: Tensor | None = None


class BatchRows(NamedTuple):
    """Of the rows of a batch, all (B,): the cosine to the own class's centre, the length |x| of the embedding."""

    cosine: Tensor
    norm: Tensor


class MarginRule(nn.Module):
    """A loss on scaled cosines: s * (what `target` makes of the target's, what `others` makes of the rest).

    It sees the rows of all ranks, so it says the same on each. Its buffers are what it remembers of the batches before;
    they belong to a saved state. `share` in [0, 1] is how much of the margin counts; 0: plain cosines.
    """

    share: float = 1.0
    changes_others: bool = False

    def target(self, rows: BatchRows) -> TargetMargin:
        """What becomes of the targets; changes nothing, and is differentiable."""
        raise NotImplementedError

    def others(self, rows: BatchRows, scale: float) -> ChangeOthers | None:
        """What becomes of the logits of other classes, given the same as `target`; None unless `changes_others`."""

    def learn(self, rows: BatchRows) -> None:
        """Remember this batch, given the same as `target`: called once a step, before anything is changed."""


class CombinedMargin(MarginRule):
    """2019's margin: m(cos_y) above, with the m1, m2 and m3 of the config."""

    def __init__(self, m1: float, m2: float, m3: float) -> None:
        super().__init__()
        self._margin = (m1, m2, m3)

    def target(self, rows: BatchRows) -> TargetMargin:
        m1, m2, m3 = self._margin
        if self.share != 1:
            m1, m2, m3 = 1 + (m1 - 1) * self.share, m2 * self.share, m3 * self.share
        return TargetMargin(margin_cosine(rows.cosine, m1, m2, m3), margin_derivative(rows.cosine, m1, m2))


def angle_and_sine(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """arccos and the sine of it, above 0, of a cosine that is clamped first."""
    cosine = clamp_cosine(cosine)
    return torch.arccos(cosine), torch.sqrt((1 - cosine) * (1 + cosine))


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
