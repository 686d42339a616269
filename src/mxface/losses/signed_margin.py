"""The margin as 2019's train_parall.py read m1, m2 and m3: negative ones count, where train.py passes them over.

    m(cos_y) = cos(m1*t + m2) - m3,  t = arccos(cos_y)

For m2 and m3 of 0 or more it is `CombinedMargin`. Source: spec recognition §4.
"""

from __future__ import annotations

import torch

from mxface.losses.margin import BatchRows, MarginRule, TargetMargin, angle_and_sine, is_cosine_shift


class SignedMargin(MarginRule):
    """m(cos_y) above."""

    def __init__(self, m1: float, m2: float, m3: float) -> None:
        super().__init__()
        self._margin = (m1, m2, m3)

    def target(self, rows: BatchRows) -> TargetMargin:
        m1, m2, m3 = self._margin
        m1, m2, m3 = 1 + (m1 - 1) * self.share, m2 * self.share, m3 * self.share
        if is_cosine_shift(m1, m2):
            return TargetMargin(rows.cosine - m3, torch.ones_like(rows.cosine))
        angle, sine = angle_and_sine(rows.cosine)
        turned = m1 * angle + m2
        return TargetMargin(torch.cos(turned) - m3, m1 * torch.sin(turned) / sine)
