"""ArcFace with the intra loss: loss type 6 of 2019's src/train_softmax.py.

The rows' loss is ArcFace's cross entropy + weight * t / pi, t = arccos(cos_y) the angle to the own centre, without the
margin. Source: spec recognition §6.
"""

from __future__ import annotations

import math

from mxface.losses.margin import BatchRows, CombinedMargin, TargetMargin, angle_and_sine


class IntraMargin(CombinedMargin):
    """2019's margin, of which type 6 had m2 alone; `weight` is its --margin-b."""

    def __init__(self, m1: float, m2: float, m3: float, *, weight: float) -> None:
        super().__init__(m1, m2, m3)
        self._weight = weight

    def target(self, rows: BatchRows) -> TargetMargin:
        angle, sine = angle_and_sine(rows.cosine)
        weight = self._weight / math.pi
        return super().target(rows)._replace(penalty=weight * angle, penalty_slope=-weight / sine)
