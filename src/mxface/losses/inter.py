"""The inter loss: loss type 7 of 2019's src/train_softmax.py, beside ArcFace. It pushes the batch's centres away.

loss = mean over rows i and classes c of u_y(i) . u_c, with u = w / |w| the unit centres: so V . U, with V the mean of
the batch's unit centres and U the mean of all. The (B, C) cosines are never made. Source: spec recognition §6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.losses.centres import NO_ROW
from mxface.losses.fused_softmax import l2_norm
from mxface.ranks import Ranks


class InterLoss:
    """The loss of one batch, times `factor`, 2019's --margin-b.

    `weight` (C, D) are the centres here, `row` (B,) the targets', NO_ROW for those of other ranks.
    """

    def __init__(self, weight: Tensor, row: Tensor, *, factor: float, num_classes: int, ranks: Ranks) -> None:
        self._factor = factor
        self._norm = l2_norm(weight)
        self._unit = weight / self._norm
        self._share = torch.bincount(row[row != NO_ROW], minlength=len(weight)).to(weight.dtype) / len(row)
        both = torch.stack((self._unit.sum(dim=0) / num_classes, self._share @ self._unit))
        self._mean, self._batch_mean = ranks.sum_(both)
        self._num_classes = num_classes

    def value(self) -> Tensor:
        """The loss, a scalar."""
        return self._factor * torch.dot(self._mean, self._batch_mean)

    def gradient(self) -> Tensor:
        """By the centres here, (C, D)."""
        of_all = (self._batch_mean / self._num_classes).expand_as(self._unit)
        by_unit: Tensor = torch.addr(of_all, self._share, self._mean)
        radial: Tensor = torch.linalg.vecdot(by_unit, self._unit).unsqueeze(1)
        return (by_unit - radial * self._unit) * (self._factor / self._norm)
