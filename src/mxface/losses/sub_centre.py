"""Sub-centre ArcFace (Deng et al. 2020): K centres a class; an image counts for the nearest of them alone.

cos_c = max_k cos(x, w_ck), then any margin on cos_y. Wrongly labelled images gather round a centre of their own instead
of pulling at the class's. Centres lie as (C, K, D), so that a rank's share is whole classes; a step sees them as rows,
the K of a class in a row, and a sample of classes has all K of each. Of equally near centres the first is the nearest.
A centre that is nearest to no image of the batch has no gradient in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.losses.margin import ChangeOthers


def nearest_centre(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Of cosines (B, K) to the centres of one class each: the largest (B,), and which centre's it is (B,)."""
    best = cosine.max(dim=1)
    return best.values, best.indices


def keep_nearest(num_centres: int) -> ChangeOthers:
    """Of each `num_centres` rows in a row of logits (K, B) only the largest stays, the others become -inf."""

    def change(logits: Tensor) -> tuple[Tensor, Tensor]:
        of_class = logits.view(-1, num_centres, logits.shape[1])
        best = of_class.amax(dim=1)
        nearest = of_class == best.unsqueeze(1)
        taken = nearest[:, 0].clone()
        for number in range(1, num_centres):  # argmax over an inner axis is many times as slow
            nearest[:, number] &= ~taken
            taken |= nearest[:, number]
        rows = nearest.view(logits.shape)
        return torch.where(rows, logits, -torch.inf), rows.to(logits.dtype)

    return change


def rows_of_classes(classes: Tensor, num_centres: int) -> Tensor:
    """The rows (n * K,) of classes (n,), those of a class in a row."""
    return (classes.unsqueeze(1) * num_centres + torch.arange(num_centres, device=classes.device)).view(-1)
