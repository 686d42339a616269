"""What stops a run in time: a loss or a gradient that is not finite, and signals.

`--on-nan` says what becomes of such a batch, which changes nothing that is trained:

    stop       the run ends with the batch's step, records and identities
    skip       the batch is passed over; after MAX_SKIPS of them in a row the run ends
    rollback   everything trained goes back to the newest training state of this run, the data go on behind the batch;
               after MAX_ROLLBACKS without a newer state in between the run ends

The loss is that of all ranks together and gradients are averaged over them, so that all decide alike. Where the loss is
finite and only the backbone's gradient is not, the class centres have taken their own, finite step of the batch; a skip
leaves them there.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from mxface.errors import NonFiniteLossError
from mxface.loaders import Batch
from mxface.losses import HeadOutput
from mxface.ranks import Ranks

log = logging.getLogger(__name__)

SINGLE = Ranks.single()

NAMED = 16
"""Records, identities and rows that a message names; the rest are an ellipsis."""
MAX_SKIPS = 10
MAX_ROLLBACKS = 3


class NotFiniteError(Exception):
    """A batch must not be learned from; raised before the update. `rows` of the batch of all ranks are to blame.

    They are rows of `of` losses; where these are not one an image (but one a triplet), they name no image. An engine
    lets it pass from `check`, or raises it for a gradient; the loop hands it to `BadBatches`.
    """

    def __init__(self, what: str, rows: Sequence[int] = (), *, of: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.rows = tuple(rows)
        self.of = of


class StateToReturnTo(Protocol):
    """The training states of this run, as far as a rollback needs them."""

    def save(self) -> None:
        """Write a state, once a step."""

    def roll_back(self) -> int:
        """Take everything trained, but not the place in the data, back to the newest state; the step that it is of."""


def require_finite_loss(output: HeadOutput) -> None:
    """Raise NotFiniteError where the batch's loss is NaN or infinite, with the rows whose own loss is."""
    loss = float(output.loss)  # on a GPU this waits for the forward alone: the backward is not queued yet
    if not math.isfinite(loss):
        faulty = (~output.cross_entropy.isfinite()).nonzero().flatten().tolist()
        raise NotFiniteError(f"the loss is {loss}", faulty, of=len(output.cross_entropy))


def require_finite_gradient(length: float) -> None:
    """Raise NotFiniteError where the backbone's gradient is of no finite length."""
    if not math.isfinite(length):
        raise NotFiniteError(f"the loss is finite, but the length of the backbone's gradient is {length}")


class LastUpdate:
    """What the newest update has left, which the loss before it does not show: to be asked before it is kept.

    `preview(batch, step=…)` gives a batch's loss with the parameters as they are, and changes nothing.
    """

    def __init__(self, preview: Callable[..., HeadOutput]) -> None:
        self._preview = preview
        self._batch: Batch | None = None
        self._step = 0
        self._fault: NotFiniteError | None = None
        self._is_known = True  # nothing has been updated yet

    def note(self, batch: Batch, step: int) -> None:
        """Update number `step` was made, with this batch."""
        self._batch, self._step = batch, step
        self.look_again()

    def look_again(self) -> None:
        """The parameters may be others now."""
        self._fault, self._is_known = None, self._batch is None

    def is_sound(self) -> bool:
        """Whether the batch that was trained on still gives a finite loss; said once where it does not."""
        if not self._is_known:
            assert self._batch is not None
            self._is_known = True
            try:
                require_finite_loss(self._preview(self._batch, step=self._step))
            except NotFiniteError as fault:
                self._fault = fault
                if Ranks.current().is_main:
                    words = "step %d has spoiled the network: now %s of its own batch; it is neither verified nor saved"
                    log.warning(words, self._step, fault.what)
        return self._fault is None

    def require_sound(self) -> None:
        """Raise NonFiniteLossError where the network gives no finite loss any more."""
        if not self.is_sound():
            raise NonFiniteLossError(
                f"step {self._step}, the last one, has spoiled the network, so it is not saved: --resume goes on from "
                "the last training state, if there is one; a smaller --lr, --margin-warmup or --clip-grad usually helps"
            )


class BadBatches:
    """Decides what becomes of batches that gave NotFiniteError. `keys` are the records' by image number."""

    def __init__(self, on_nan: str, keys: npt.NDArray[np.int64], state: StateToReturnTo, ranks: Ranks) -> None:
        self._on_nan = on_nan
        self._keys = keys
        self._state = state
        self._ranks = ranks
        self._skips_in_a_row = 0
        self._rollbacks = 0
        self._rolled_back_to: int | None = None
        if on_nan == "rollback":
            state.save()  # so that there is one from the first batch on

    def note_good(self) -> None:
        """A batch was learned from."""
        self._skips_in_a_row = 0

    def pass_over(self, fault: NotFiniteError, batch: Batch, *, step: int) -> None:
        """Let the run go on behind `batch`, which was to be number `step`; NonFiniteLossError where it must end."""
        account = f"step {step}: {fault.what}. {self._describe(fault, batch)}"
        if self._on_nan == "stop":
            raise NonFiniteLossError(
                f"{account} Stopped before the update: --resume goes on from the last training state, if there is one. "
                "A smaller --lr, --margin-warmup or --clip-grad usually helps; --on-nan skip passes such batches over"
            )
        if self._on_nan == "skip":
            self._skip(account)
        else:
            self._roll_back(account)

    def _skip(self, account: str) -> None:
        self._skips_in_a_row += 1
        if self._skips_in_a_row >= MAX_SKIPS:
            raise NonFiniteLossError(
                f"{account} It is number {MAX_SKIPS} in a row to be skipped: the fault is not the data's. "
                "Go on from the last training state (--resume) with a smaller --lr"
            )
        if self._ranks.is_main:
            log.warning("%s The batch is skipped", account)

    def _roll_back(self, account: str) -> None:
        state_step = self._state.roll_back()
        if self._rolled_back_to != state_step:
            self._rolled_back_to, self._rollbacks = state_step, 0
        self._rollbacks += 1
        if self._rollbacks > MAX_ROLLBACKS:
            raise NonFiniteLossError(
                f"{account} The run went back to step {state_step} {MAX_ROLLBACKS} times and never came as far as the "
                "next training state: go on from there (--resume) with a smaller --lr, or more frequent --state-steps"
            )
        if self._ranks.is_main:
            log.warning("%s Everything goes back to the state of step %d, the data go on", account, state_step)

    def _describe(self, fault: NotFiniteError, batch: Batch) -> str:
        """Records and identities of the batch over all ranks, the faulty rows' alone where not all are."""
        index, label = (self._ranks.gather_rows(torch.from_numpy(values)) for values in (batch.index, batch.label))
        rows = list(fault.rows) if fault.of in (None, len(index)) else []
        where = "Records of the batch"
        if 0 < len(rows) < len(index):
            index, label = index[rows], label[rows]
            where = f"{'Rows' if len(rows) > 1 else 'Row'} {_listed(rows)} of the batch: records"
        return (
            f"{where} {_listed(self._keys[index.numpy()].tolist())}; identities {_listed(sorted(set(label.tolist())))}."
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:NAMED])) + (", …" if len(numbers) > NAMED else "")


class StopSignals:
    """While entered, SIGTERM and Ctrl-C only ask for a stop (`received`); the same signal again acts at once.

    Of many ranks some may be asked a batch earlier than others, or alone: all stop after the same batch, the one in
    which `agree` has told them.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, ranks: Ranks = SINGLE) -> None:
        self.received: signal.Signals | None = None
        self._ranks = ranks
        self._asked: signal.Signals | None = None
        self._pending: Callable[[], int] | None = None
        self._before = {number: signal.getsignal(number) for number in self.SIGNALS}

    def __enter__(self) -> StopSignals:
        for number in self.SIGNALS:
            signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def begin_agreement(self) -> None:
        """Begin to tell the other ranks; it travels while the batch is computed."""
        if self._ranks.count > 1:
            self._pending = self._ranks.begin_max(self._asked or 0)

    def agree(self) -> None:
        """Take what all ranks have told as received; an error where one of them is gone."""
        if self._pending is not None:
            number, self._pending = self._pending(), None
            if number:
                self.received = signal.Signals(number)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._asked = signal.Signals(number)
        if self._ranks.count == 1:
            self.received = self._asked
        if self._ranks.is_main:
            log.warning("%s: saving the training state after this batch (again: stop at once)", self._asked.name)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
