"""What a step of the softmax head adds to the cross entropy: the rule's penalty, the inter loss, the centre loss.

For most losses that is nothing, and costs nothing. Legend: B rows of all ranks, D embedding size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.losses.centre_loss import CentreLoss
from mxface.losses.fused_softmax import Scores, SgdRate, Target
from mxface.losses.inter import InterLoss
from mxface.losses.margin import TargetMargin
from mxface.ranks import Ranks


class Additions:
    """Of one batch: `embeddings` (B, D) as they are, `row` (B,) of their classes here; before the centres move."""

    def __init__(
        self,
        embeddings: Tensor,
        row: Tensor,
        *,
        margin: TargetMargin,
        inter: InterLoss | None,
        centre_loss: CentreLoss | None,
        ranks: Ranks,
    ) -> None:
        self._row = row
        self._margin = margin
        self._inter = inter
        self._inter_gradient: Tensor | None = None
        self._centre_loss = centre_loss
        self._pull = None if centre_loss is None else centre_loss.pull(embeddings, row)
        self._ranks = ranks

    def to_loss(self, loss: Tensor) -> Tensor:
        """`loss`, a scalar, and what is added to it; the same on every rank."""
        if self._margin.penalty is not None:
            loss = loss + self._margin.penalty.mean()
        if self._inter is not None:
            loss = loss + self._inter.value()
            self._inter_gradient = self._inter.gradient()
        if self._centre_loss is not None and self._pull is not None:
            loss = loss + self._ranks.sum_(self._centre_loss.value(self._pull))
        return loss

    def to_gradient(
        self, grad: Tensor, target: Target, scores: Scores, features: Tensor, scale: float | None
    ) -> Tensor:
        """`grad`, of the loss by the embeddings (B, D), and what comes by their length and from the centre loss."""
        margin = self._margin
        if margin.norm_slope is not None or margin.penalty_norm_slope is not None:
            by_length = torch.zeros_like(target.logit)
            if margin.norm_slope is not None and scale is not None:
                by_length -= torch.sigmoid(scores.log_others - target.logit) * scale * margin.norm_slope
            if margin.penalty_norm_slope is not None:
                by_length += margin.penalty_norm_slope
            grad = grad + (by_length / len(grad)).unsqueeze(1) * features
        if self._centre_loss is not None and self._pull is not None:
            pull = self._ranks.sum_(self._pull.clone())
            grad = grad + pull * (self._centre_loss.weight / len(pull))
        return grad

    def update(self, weight: Tensor, momentum: Tensor, rate: SgdRate) -> None:
        """Move the centres (after the softmax has moved them: steps add up)."""
        if self._inter_gradient is not None:
            for tensor in (weight, momentum):
                tensor.sub_(self._inter_gradient, alpha=rate.lr * rate.rescale)
        if self._centre_loss is not None and self._pull is not None:
            self._centre_loss.move(self._pull, self._row)
