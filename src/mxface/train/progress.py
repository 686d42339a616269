"""Where a run stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class Progress:
    """Batches trained over all epochs (`step`), the epoch, and batches trained of it."""

    step: int = 0
    epoch: int = 0
    batch: int = 0

    def advance(self) -> None:
        """One batch more."""
        self.step += 1
        self.batch += 1

    def begin_next_epoch(self) -> None:
        """The epoch is over."""
        self.epoch += 1
        self.batch = 0
