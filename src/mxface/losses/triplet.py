"""Triplet losses over a batch laid out [anchors | positives | negatives], and the head without parameters for them.

Rows are normalised first, x / sqrt(sum x^2 + 1e-10). With a, p, n the unit rows of a triplet:

    triplet     max(0, |a - p|^2 - |a - n|^2 + alpha)                  FaceNet (Schroff et al. 2015)
    atriplet    max(0, arccos(a.p) - arccos(a.n) + alpha)              radians

The loss is the mean over the triplets, those without a loss included. A triplet exactly on the margin has no gradient.
The angular loss clamps cosines as `losses.margin` does, so that two equal rows give a finite gradient where 2019 had
NaN. Source: spec recognition §3; proved in tests/oracle/test_triplet.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mxface.errors import ConfigError
from mxface.losses.fused_softmax import l2_norm
from mxface.losses.head_config import HeadOutput, accept
from mxface.losses.margin import clamp_cosine
from mxface.ranks import Ranks

TripletKind = Literal["triplet", "atriplet"]
TRIPLET_KINDS = ("triplet", "atriplet")


def triplet_excess(embedding: Tensor, kind: TripletKind) -> Tensor:
    """How much farther the positive is than the negative, (P / 3,), of raw rows (P, D); differentiable."""
    if len(embedding) % 3:
        raise ConfigError(
            f"a batch of {len(embedding)} rows is not anchors, positives and negatives: make per_batch_size a "
            "multiple of 3"
        )
    anchor, positive, negative = (embedding / l2_norm(embedding)).chunk(3)
    if kind == "triplet":
        return (anchor - positive).square().sum(dim=1) - (anchor - negative).square().sum(dim=1)
    to_positive, to_negative = (
        torch.arccos(clamp_cosine(torch.linalg.vecdot(anchor, other))) for other in (positive, negative)
    )
    return to_positive - to_negative


def triplet_losses(embedding: Tensor, alpha: float, kind: TripletKind) -> Tensor:
    """The loss of each triplet, (P / 3,), of raw rows (P, D); differentiable."""
    return torch.relu(triplet_excess(embedding, kind) + alpha)


class TripletHead(nn.Module):
    """What `SoftmaxHead` is for classes, for triplets: `step` gives loss and gradient. It has nothing to learn.

    Every rank's rows are triplets of their own, as many on each; the loss is the mean over all of them. `margin_share`
    may be set between steps: how much of `alpha` counts, from 0 to 1.
    """

    def __init__(self, *, alpha: float, kind: TripletKind = "triplet", ranks: Ranks | None = None) -> None:
        super().__init__()
        if kind not in TRIPLET_KINDS:
            raise ConfigError(f"loss_name is {kind!r}: expected 'triplet' or 'atriplet'")
        if alpha < 0:
            raise ConfigError(f"triplet_alpha is {alpha}: expected a margin of 0 or more")
        self.alpha = alpha
        self.margin_share = 1.0
        self.kind = kind
        self.ranks = ranks or Ranks.single()

    def forward(self, embedding: Tensor) -> HeadOutput:
        """The loss of this rank's rows (P, D) under autograd."""
        excess = triplet_excess(embedding, self.kind)
        losses = torch.relu(excess + self.alpha * self.margin_share)
        return HeadOutput(losses.mean(), losses, excess < 0)

    def step(
        self,
        embedding: Tensor,
        label: Tensor,  # noqa: ARG002 (what the heads share)
        *,
        check: Callable[[HeadOutput], None] = accept,
        **_rates: object,
    ) -> tuple[HeadOutput, Tensor]:
        """Output over all ranks' triplets, and the gradient (P, D) of its mean loss by this rank's rows.

        `cross_entropy` holds each triplet's loss, `correct` whether its positive is nearer than its negative. Labels
        and rates are those of the other heads' interface; nothing here depends on them.
        """
        with torch.enable_grad(), torch.autocast(embedding.device.type, enabled=False):
            rows = embedding.detach().to(torch.promote_types(embedding.dtype, torch.float32)).requires_grad_()
            here = self(rows)
            (gradient,) = torch.autograd.grad(here.loss, rows)
        losses, correct = (self.ranks.gather_rows(values.detach()) for values in here[1:])
        output = HeadOutput(losses.mean(), losses, correct)
        check(output)
        return output, (gradient / self.ranks.count).to(embedding.dtype)
