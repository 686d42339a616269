"""Where a run stands.

The place inside an epoch is counted in images, so that a run can go on from it with another batch size or on another
number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class Progress:
    """Batches trained over all epochs (`step`), the epoch, and batches and images taken from it, over all ranks."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    images: int = 0

    def advance(self, images: int) -> None:
        """One batch of so many images more."""
        self.step += 1
        self.pass_over(images)

    def pass_over(self, images: int) -> None:
        """One batch of so many images was taken, and not trained."""
        self.batch += 1
        self.images += images

    def begin_next_epoch(self) -> None:
        """The epoch is over."""
        self.epoch += 1
        self.batch = self.images = 0
