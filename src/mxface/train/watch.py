"""Signs of a run that learns nothing, each said once: in words, while there is still time to stop it."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

log = logging.getLogger(__name__)

FIRST_LOSS_TOLERANCE, FIRST_LOSS_DEVIATIONS = 0.2, 3
STEPS_WITHOUT_A_HIT = 2000
"""So many batches without one right answer, at an unchanged loss, are a sign; arcface has hundreds on large data."""
UNCHANGED_LOSS = 0.95
GROWN_LOSS = 2.0
CHANCE, NEAR_CHANCE = 0.5, 0.02
SAME_DIRECTION = 0.99
SMALLEST_NORM, LARGEST_NORM = 1e-3, 1e4


class Watch:
    """Looks at what a run measures anyway.

    `expected_loss` is that of the first batch of a start from scratch, `loss_spread` its standard deviation, and
    `grown_loss` what the same untrained network would have with the whole margin. Over the first `margin_warmup`
    batches the loss grows with the margin, so how it changes is looked at from then on.
    """

    def __init__(
        self,
        expected_loss: float | None = None,
        loss_spread: float = 0.0,
        *,
        grown_loss: float | None = None,
        margin_warmup: int = 0,
    ) -> None:
        self._expected_loss = expected_loss
        self._loss_spread = loss_spread
        self._grown_loss = expected_loss if grown_loss is None else grown_loss
        self._margin_warmup = margin_warmup
        self._more_warmup = "a longer --margin-warmup" if margin_warmup else "--margin-warmup"
        self._first_loss: float | None = None
        self._steps_without_a_hit = 0
        self._said: set[str] = set()

    def first_loss(self, loss: float) -> None:
        """Of batch 1 of a run."""
        expected = self._expected_loss
        if expected is None:
            return
        if abs(loss - expected) > FIRST_LOSS_TOLERANCE * expected + FIRST_LOSS_DEVIATIONS * self._loss_spread:
            self._say(
                "first loss",
                f"the first loss is {loss:.2f}, and {expected:.2f} was expected of an untrained network: look at the "
                "pictures and the labels, at a pretrained model, and at loss_s and the margin",
            )

    def window(self, *, step: int, steps: int, accuracy: float, loss: float, embedding: Tensor) -> None:
        """Means of the last `steps` batches, up to batch `step`, and the embeddings (b, D) of the last one."""
        if step - steps >= self._margin_warmup:
            self._compare_with_the_first(steps, accuracy, loss)
        self._look_at(embedding.detach().float())

    def _compare_with_the_first(self, steps: int, accuracy: float, loss: float) -> None:
        if self._first_loss is None:
            self._first_loss = loss
        self._steps_without_a_hit = self._steps_without_a_hit + steps if accuracy == 0 else 0
        if self._steps_without_a_hit >= STEPS_WITHOUT_A_HIT and loss > UNCHANGED_LOSS * self._first_loss:
            self._say(
                "no hit",
                f"accuracy is 0 over {self._steps_without_a_hit} batches, and the loss {loss:.2f} is where it began "
                f"({self._first_loss:.2f}): do the labels belong to the pictures? Else another --lr or "
                f"{self._more_warmup}",
            )
        start = max(self._first_loss, self._grown_loss or 0.0)
        if loss > GROWN_LOSS * start:
            self._say(
                "grown",
                f"the loss has grown from {start:.2f} to {loss:.2f}: a smaller --lr, --clip-grad or "
                f"{self._more_warmup} usually helps",
            )

    def verification(self, name: str, accuracy: float) -> None:
        """Of one set of pairs, in [0, 1]."""
        if abs(accuracy - CHANCE) <= NEAR_CHANCE:
            self._say(
                f"chance {name}",
                f"{name}: accuracy {accuracy:.4f} is a coin's. Early in a run the embeddings say nothing yet; later, "
                "they have collapsed (see embedding_norm), or the pictures are not aligned as the training's are",
            )

    def _look_at(self, embedding: Tensor) -> None:
        norm = float(embedding.norm(dim=1).mean())
        if not SMALLEST_NORM < norm < LARGEST_NORM:
            self._say(
                "norm",
                f"embeddings are {norm:.2g} long on average: they have collapsed or are about to overflow; a smaller "
                "--lr, --clip-grad, or go on from an earlier training state",
            )
        count = len(embedding)
        if count < 2:
            return
        together = torch.nn.functional.normalize(embedding, dim=1).sum(dim=0)
        cosine = (float(together @ together) - count) / (count * (count - 1))
        if cosine > SAME_DIRECTION:
            self._say(
                "direction",
                f"all embeddings of a batch point the same way (mean cosine {cosine:.4f}): they have collapsed; a "
                f"smaller --lr, {self._more_warmup}, or more images a rank for BatchNorm",
            )

    def _say(self, sign: str, words: str) -> None:
        if sign not in self._said:
            self._said.add(sign)
            log.warning("%s", words)
