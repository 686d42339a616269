"""ArcFace with a threshold, or with the easy margin: loss type 4 of 2019's src/train_softmax.py.

With t = arccos(cos_y), the target's cosine becomes

    cos(t + m)               while t + m < pi, that is cos_y > cos(pi - m);   easy: while cos_y > 0
    cos_y - m * sin(pi - m)  beyond;                                          easy: cos_y

so that the loss keeps falling where plain cos(t + m) would rise again. Source: spec recognition §6.
"""

from __future__ import annotations

import math

import torch

from mxface.errors import ConfigError
from mxface.losses.margin import BatchRows, MarginRule, TargetMargin, angle_and_sine


class ThresholdMargin(MarginRule):
    """An angle `m` below pi / 2, in radians, and what is done where it does not fit."""

    def __init__(self, m: float, *, easy: bool) -> None:
        super().__init__()
        if not 0 <= m < math.pi / 2:
            raise ConfigError(f"loss_m2 (--margin-m) is {m}: expected an angle from 0 to below pi / 2")
        self._m = m
        self._easy = easy

    def target(self, rows: BatchRows) -> TargetMargin:
        m = self._m * self.share
        cosine = rows.cosine
        angle, sine = angle_and_sine(cosine)
        fits = cosine > (0.0 if self._easy else math.cos(math.pi - m))
        beyond = cosine if self._easy else cosine - m * math.sin(math.pi - m)
        slope = torch.where(fits, torch.sin(angle + m) / sine, torch.ones_like(sine))
        return TargetMargin(torch.where(fits, torch.cos(angle + m), beyond), slope)
