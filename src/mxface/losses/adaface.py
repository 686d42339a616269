"""AdaFace (Kim et al. 2022): the length of the embedding as a measure of the image decides what kind of margin it gets.

With mu and sigma the mean and the standard deviation of the lengths |x| of a batch, averaged over batches,

    q = clip((|x| - mu) / (sigma / h), -1, 1)             a number: no gradient flows through it
    the target's cosine becomes  cos(t + g_angle) - g_add,  g_angle = -m * q,  g_add = m * q + m

so that q = -1 is ArcFace's margin, q = 0 CosFace's, and q = 1 an angle taken back and twice CosFace's.

The averages are exponential with weight 0.99 on the past, this batch included; they are divided by the weight seen so
far, so that the first batch counts for itself and is not mixed with a guess. sigma is that of the batch itself (a batch
of one has none: then q is 0 at first). The angle t + g_angle may leave [0, pi]: as the paper writes it, nothing is
clamped. mu and sigma are those of the rows of all ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.errors import ConfigError
from mxface.losses.margin import BatchRows, MarginRule, TargetMargin, angle_and_sine

PAST = 0.99  # the share of the batches before in the averages
SMALLEST_SIGMA = 1e-6


class AdaFace(MarginRule):
    """`m` is a margin, in radians and of the cosine alike; `h` the concentration: |x| beyond sigma / h are clipped."""

    statistics: Tensor

    def __init__(self, m: float, h: float) -> None:
        super().__init__()
        if m < 0 or h <= 0:
            raise ConfigError(f"loss_m is {m} and loss_h {h}: expected a margin of 0 or more, a concentration above 0")
        self._m = m
        self._h = h
        # weight seen, weighted sums of mean and sigma; float64: sums of many small shares
        self.register_buffer("statistics", torch.zeros(3, dtype=torch.float64))

    @torch.no_grad()
    def quality(self, norm: Tensor) -> Tensor:
        """q of lengths (B,)."""
        weight, mean, sigma = self._with(norm).to(norm.dtype)
        sigma = (sigma / weight).clamp_min(SMALLEST_SIGMA)
        return torch.clamp((norm - mean / weight) * (self._h / sigma), -1, 1)

    def target(self, rows: BatchRows) -> TargetMargin:
        m = self._m * self.share
        quality = self.quality(rows.norm)
        angle, sine = angle_and_sine(rows.cosine)
        turned = angle - m * quality
        return TargetMargin(torch.cos(turned) - m * (quality + 1), torch.sin(turned) / sine)

    def learn(self, rows: BatchRows) -> None:
        self.statistics.copy_(self._with(rows.norm))

    def _with(self, norm: Tensor) -> Tensor:
        """The statistics after a batch of these lengths."""
        lengths = norm.double()
        batch = torch.stack((torch.ones_like(lengths[0]), lengths.mean(), lengths.std(correction=0)))
        return PAST * self.statistics + (1 - PAST) * batch
