"""Custom: rpn_fpn_ohem3, RetinaFace's online hard example mining, for one stride at a time.

Of each image it keeps the hardest anchors: at most `rpn_fg_fraction` of `rpn_batch_size` faces, those with the lowest
face score minus background score, and as many backgrounds as then fill the batch, those with the highest. Where 2019's
rules leave it open: of equal scores the first anchors are kept (2019's sort was not stable), and the faces that the
backgrounds make room for, and that are counted, are the ones kept. Its line of statistics every 28800 calls is left
out; the training metrics say the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.errors import GraphError
from mxface.lower.registry import lowers

FACE, BACKGROUND, IGNORED = 1, 0, -1

RANDOM_NETWORK = "pbox"
"""The network for which 2019 drew anchors instead of taking the hardest."""


@lowers("Custom", hints=("op_type", "stride", "dataset", "prefix"))
@torch.no_grad()
def mine_hard_anchors(
    cls_score: Tensor,
    labels: Tensor,
    *,
    network: str = "",
    num_anchors: int = 2,
    rpn_batch_size: int = 256,
    rpn_fg_fraction: float = 0.25,
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (N, P) with all anchors that are not kept at -1, face weights (N, P, 1), faces kept (N, 1).

    Scores (N, 2, P) and labels go anchor by anchor, position after position within each; the weights, 1 for a face that
    is kept and else 0, position by position. No gradient passes. Raises GraphError unless `num_anchors` divides P.
    """
    batch, positions = labels.shape[0], labels.shape[1] // num_anchors
    if positions * num_anchors != labels.shape[1]:
        raise GraphError(f"{labels.shape[1]} labels are not those of {num_anchors} anchors a position; set num_anchors")
    score = cls_score[:, 1] - cls_score[:, 0]
    if network == RANDOM_NETWORK:
        score = torch.rand_like(score)
    faces = _keep_highest(labels == FACE, -score, int(rpn_fg_fraction * rpn_batch_size))
    count = faces.sum(1, keepdim=True)
    backgrounds = _keep_highest(labels == BACKGROUND, score, rpn_batch_size - count)
    weight = faces.view(batch, num_anchors, positions).transpose(1, 2).reshape(batch, -1, 1)
    mined = labels.masked_fill(~(faces | backgrounds), IGNORED)
    return mined, weight.to(cls_score.dtype), count.to(cls_score.dtype)


def _keep_highest(candidates: Tensor, score: Tensor, limit: int | Tensor) -> Tensor:
    """Which candidates (N, P) are among the `limit`, one for all images or (N, 1), with the highest score."""
    order = score.masked_fill(~candidates, -torch.inf).argsort(dim=1, descending=True, stable=True)
    first = torch.arange(order.shape[1], device=order.device) < limit
    return candidates & torch.zeros_like(candidates).scatter(1, order, first.expand_as(candidates))
