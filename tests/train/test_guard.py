"""What stops a run in time."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from tests.support.ranks import run_threads

from mxface.errors import NonFiniteLossError
from mxface.loaders import Batch
from mxface.losses import HeadOutput
from mxface.ranks import Ranks
from mxface.train.guard import (
    MAX_ROLLBACKS,
    MAX_SKIPS,
    BadBatches,
    NotFiniteError,
    StopSignals,
    require_finite_gradient,
    require_finite_loss,
)


class States:
    """Counts what is asked of the states; the newest is of step `step`."""

    def __init__(self) -> None:
        self.saves = self.rollbacks = 0
        self.step = 40

    def save(self) -> None:
        self.saves += 1

    def roll_back(self) -> int:
        self.rollbacks += 1
        return self.step


KEYS = np.arange(100, 200)


def batch_of(size: int) -> Batch:
    return Batch(np.zeros((size, 8, 8, 3), np.uint8), np.arange(size) // 2, np.arange(size))


def bad_batches(on_nan: str, states: States | None = None) -> BadBatches:
    return BadBatches(on_nan, KEYS, states or States(), Ranks.single())


def output_of(*losses: float) -> HeadOutput:
    cross_entropy = torch.tensor(losses)
    return HeadOutput(cross_entropy.mean(), cross_entropy, cross_entropy < 1)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_names_its_rows(loss: float) -> None:
    with pytest.raises(NotFiniteError, match=f"the loss is {loss}") as raised:
        require_finite_loss(output_of(1.0, loss, 2.0, loss))
    assert raised.value.rows == (1, 3)
    require_finite_loss(output_of(1.0, 1.5))


@pytest.mark.parametrize("length", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_a_fault(length: float) -> None:
    with pytest.raises(
        NotFiniteError, match=f"the loss is finite, but the length of the backbone's gradient is {length}"
    ):
        require_finite_gradient(length)
    require_finite_gradient(1e30)


def test_stopping_names_step_rows_records_and_identities() -> None:
    expected = r"step 7: the loss is nan\. Rows 2, 5 of the batch: records 102, 105; identities 1, 2\. Stopped before"
    with pytest.raises(NonFiniteLossError, match=expected):
        bad_batches("stop").pass_over(NotFiniteError("the loss is nan", [2, 5]), batch_of(6), step=7)


def test_a_batch_without_known_rows_is_named_as_a_whole_and_cut_short() -> None:
    expected = r"Records of the batch 100, .*, 115, …; identities 0, 1, .*, 15, …\."
    for rows in ([], list(range(50))):
        with pytest.raises(NonFiniteLossError, match=expected):
            bad_batches("stop").pass_over(NotFiniteError("the loss is nan", rows), batch_of(50), step=1)


def test_losses_of_triplets_are_not_taken_for_rows() -> None:
    """Loss 1 of two triplets is that of rows 1, 3 and 5."""
    with pytest.raises(NotFiniteError) as raised:
        require_finite_loss(output_of(1.0, float("nan")))
    expected = r"step 1: the loss is nan\. Records of the batch 100, 101, 102, 103, 104, 105; identities 0, 1, 2\."
    with pytest.raises(NonFiniteLossError, match=expected):
        bad_batches("stop").pass_over(raised.value, batch_of(6), step=1)


def test_records_of_all_ranks_are_named_by_each() -> None:
    """Row 5 of the batch of two ranks is row 1 of the second one's four."""

    def account(ranks: Ranks) -> str:
        first = 4 * ranks.rank
        rows = np.arange(first, first + 4)
        batch = Batch(np.zeros((4, 8, 8, 3), np.uint8), rows // 2, rows)
        with pytest.raises(NonFiniteLossError) as raised:
            BadBatches("stop", KEYS, States(), ranks).pass_over(NotFiniteError("the loss is inf", [5]), batch, step=9)
        return str(raised.value)

    accounts = run_threads(account, 2)
    assert accounts[0] == accounts[1]
    assert accounts[0].startswith("step 9: the loss is inf. Row 5 of the batch: records 105; identities 2. ")


def test_ten_skips_in_a_row_are_too_many(caplog: pytest.LogCaptureFixture) -> None:
    bad, fault = bad_batches("skip"), NotFiniteError("the loss is nan", [0])
    for _ in range(2):
        for _ in range(MAX_SKIPS - 1):
            bad.pass_over(fault, batch_of(4), step=3)
        bad.note_good()
    assert [record.getMessage() for record in caplog.records] == [
        "step 3: the loss is nan. Row 0 of the batch: records 100; identities 0. The batch is skipped"
    ] * (2 * MAX_SKIPS - 2)
    for _ in range(MAX_SKIPS - 1):
        bad.pass_over(fault, batch_of(4), step=3)
    with pytest.raises(NonFiniteLossError, match="number 10 in a row to be skipped"):
        bad.pass_over(fault, batch_of(4), step=3)


def test_rollbacks_to_one_state_are_bounded_and_a_newer_state_starts_anew() -> None:
    states = States()
    bad, fault = bad_batches("rollback", states), NotFiniteError("the loss is nan")
    assert states.saves == 1  # there is a state before the first batch
    for step in (40, 50):
        states.step = step
        for _ in range(MAX_ROLLBACKS):
            bad.pass_over(fault, batch_of(4), step=55)
    assert states.rollbacks == 2 * MAX_ROLLBACKS
    with pytest.raises(NonFiniteLossError, match="went back to step 50 3 times and never came as far"):
        bad.pass_over(fault, batch_of(4), step=55)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_once_and_then_acts(number: signal.Signals) -> None:
    def earlier(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(number, earlier)
    try:
        with StopSignals() as stop:
            assert stop.received is None
            signal.raise_signal(number)
            assert stop.received is number
            with pytest.raises(InterruptedError):
                signal.raise_signal(number)
        assert signal.getsignal(number) is earlier
    finally:
        signal.signal(number, before)
