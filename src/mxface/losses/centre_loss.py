"""Centre loss (Wen et al. 2016) in 2019's form, beside a softmax: embeddings are pulled to a mean of their class.

    loss = sum_i |x_i - c_y|^2 / (2 B)      gradient by x_i: weight / B * (x_i - c_y)      of B raw embeddings x
    after the step                          c_y += alpha * sum_i (x_i - c_y) / (1 + n_y)   over the n_y rows of class y

The centres are means, not parameters: no gradient, no decay. They start at 0. Over ranks each has those of its own
classes. Source: `losses/center_loss.py` by spec recognition §6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mxface.errors import ConfigError
from mxface.losses.centres import NO_ROW


class CentreLoss(nn.Module):
    """`num_rows` classes of this rank. `weight` is that of the loss in the whole, `alpha` the centres' rate."""

    centres: Tensor

    def __init__(
        self, num_rows: int, emb_size: int, *, weight: float, alpha: float, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if weight < 0 or not 0 <= alpha <= 1:
            raise ConfigError(
                f"loss_centre_weight is {weight} and loss_centre_alpha {alpha}: expected 0 or more, and within [0, 1]"
            )
        self.weight = weight
        self.alpha = alpha
        self.register_buffer("centres", torch.zeros(num_rows, emb_size, dtype=dtype))

    def pull(self, embedding: Tensor, row: Tensor) -> Tensor:
        """x - c_y of all rows (B, D); 0 where `row` (B,) is NO_ROW, another rank's."""
        own = (row != NO_ROW).nonzero().squeeze(1)
        difference = embedding[own] - self.centres[row[own]]
        return torch.zeros_like(embedding).index_copy_(0, own, difference)

    def value(self, pull: Tensor) -> Tensor:
        """The weighted loss of the rows of this rank's classes, given what `pull` gave: over ranks, they add up."""
        return pull.square().sum() * (self.weight / (2 * len(pull)))

    def move(self, pull: Tensor, row: Tensor) -> None:
        """Move the centres by what `pull` gave for the same rows."""
        own = (row != NO_ROW).nonzero().squeeze(1)
        classes, inverse, counts = torch.unique(row[own], return_inverse=True, return_counts=True)
        total = pull.new_zeros(len(classes), pull.shape[1]).index_add_(0, inverse, pull[own])
        self.centres.index_add_(0, classes, total / (1 + counts.unsqueeze(1)), alpha=self.alpha)
