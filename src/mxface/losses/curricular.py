"""CurricularFace (Huang et al. 2020): the harder negatives count the more, the further training has come.

With t_y = arccos(cos_y), the target's cosine becomes cos(t_y + m), and that of another class j

    cos_j                  if cos_j <= cos(t_y + m)         easy
    cos_j * (t + cos_j)    otherwise                        hard

where t is an exponential average over batches, this one included, of the mean target cosine: it starts at 0 and keeps
0.99 of its past. t and the border between easy and hard are numbers: no gradient flows through them.

Hard are those among the classes at hand: with class sampling, among the sampled ones. Over ranks, each rank decides for
its own classes, with the t and the targets of all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.errors import ConfigError
from mxface.losses.margin import BatchRows, ChangeOthers, MarginRule, TargetMargin, angle_and_sine

PAST = 0.99


class CurricularFace(MarginRule):
    """An angle `m` in radians."""

    changes_others = True
    average: Tensor

    def __init__(self, m: float) -> None:
        super().__init__()
        if m < 0:
            raise ConfigError(f"loss_m2 is {m}: expected an angle of 0 or more")
        self._m = m
        self.register_buffer("average", torch.zeros((), dtype=torch.float64))

    def target(self, rows: BatchRows) -> TargetMargin:
        m = self._m * self.share
        angle, sine = angle_and_sine(rows.cosine)
        return TargetMargin(torch.cos(angle + m), torch.sin(angle + m) / sine)

    def others(self, rows: BatchRows, scale: float) -> ChangeOthers:
        border = scale * self.target(rows).cosine.detach()
        t = self._with(rows.cosine).to(border.dtype)

        def change(logits: Tensor) -> tuple[Tensor, Tensor]:
            hard = logits > border
            weight = torch.where(hard, t + logits / scale, 1.0)
            return logits * weight, torch.where(hard, weight + logits / scale, 1.0)

        return change

    def learn(self, rows: BatchRows) -> None:
        self.average.copy_(self._with(rows.cosine))

    def _with(self, cosine: Tensor) -> Tensor:
        """t after a batch of these target cosines."""
        return PAST * self.average + (1 - PAST) * cosine.detach().double().mean()
