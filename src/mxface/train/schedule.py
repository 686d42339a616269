"""What follows from the batch number alone (from 1, over all epochs), so that a resumed run needs no memory of it.

2019's learning rate: a tenth after every batch that `--lr-steps` names. Ours: a margin that grows at the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

from mxface.errors import SettingError

FACTOR = 0.1


def parse_lr_steps(text: str) -> tuple[int, ...]:
    """The batch numbers of `--lr-steps 100000,160000`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as exc:
        raise SettingError(
            "lr_steps",
            f" is {text!r}: expected batch numbers with commas between them, such as 100000,160000 "
            "(to keep the rate, name a batch that is never reached)",
        ) from exc


@dataclass(frozen=True)
class StepSchedule:
    """The learning rate."""

    base_lr: float
    steps: tuple[int, ...]

    def drops_after(self, batch: int) -> bool:
        """Whether the rate changes once batch `batch` has been trained."""
        return batch in self.steps

    def lr_after(self, batch: int) -> float:
        """The rate in force once `batch` batches have been trained; a batch named twice counts once."""
        lr = self.base_lr
        for _ in range(sum(step <= batch for step in set(self.steps))):
            lr *= FACTOR
        return lr


def margin_share(step: int, warmup: int) -> float:
    """How much of the margin counts in batch `step` (from 1): nothing in the first, all from batch `warmup` + 1 on."""
    return 1.0 if step > warmup else (step - 1) / warmup
