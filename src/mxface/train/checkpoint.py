"""Which verified models are kept: 2019's rule, and the files it writes.

`--ckpt` 0 never saves; 1 saves each new best under the number of its verification; 2 saves every time; 3 saves each
new best over `PREFIX-0001.params`. Other values act as 1. The last validation set decides, on a tie the sum over all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NEVER, ALWAYS, BEST_OVER_LAST = 0, 2, 3


@dataclass(kw_only=True)
class SaveRule:
    """2019's rule with its memory, which is part of the training state."""

    ckpt: int
    verifications: int = 0
    best_last: float = 0.0
    best_sum: float = 0.0

    def number_to_save(self, accuracies: Sequence[float]) -> int | None:
        """The number in the name of the file to write after a verification that gave these accuracies, or None."""
        self.verifications += 1
        is_best = self._note(accuracies)
        if self.ckpt == NEVER or not (is_best or self.ckpt == ALWAYS):
            return None
        return 1 if self.ckpt == BEST_OVER_LAST else self.verifications

    def _note(self, accuracies: Sequence[float]) -> bool:
        """Whether these accuracies are the best so far; without validation sets nothing ever is."""
        if not accuracies or accuracies[-1] < self.best_last:
            return False
        if accuracies[-1] == self.best_last:
            # as in 2019, only a tie moves best_sum: the first tie always wins
            if sum(accuracies) < self.best_sum:
                return False
            self.best_sum = sum(accuracies)
        self.best_last = accuracies[-1]
        return True
