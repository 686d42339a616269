"""What stops a run in time: a loss that is not finite, and signals."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType

from mxface.errors import NonFiniteLossError

log = logging.getLogger(__name__)

NAMED_RECORDS = 16


def require_finite_loss(loss: float, *, step: int, records: Sequence[int]) -> None:
    """Raise before the update that a loss of NaN or infinity would make; `records` are the .idx keys of the batch."""
    if math.isfinite(loss):
        return
    named = ", ".join(map(str, records[:NAMED_RECORDS])) + (", …" if len(records) > NAMED_RECORDS else "")
    raise NonFiniteLossError(
        f"step {step}: the loss is {loss}; stopped before the update, the last checkpoint is good. "
        f"Records of the batch: {named}. A smaller --lr or margin usually helps; --resume goes on from the last state"
    )


class StopSignals:
    """While entered, SIGTERM and Ctrl-C only ask for a stop (`received`); the same signal again acts at once."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before = {number: signal.getsignal(number) for number in self.SIGNALS}

    def __enter__(self) -> StopSignals:
        for number in self.SIGNALS:
            signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        log.warning("%s: saving the training state after this batch (again: stop at once)", self.received.name)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
