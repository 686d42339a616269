"""What stops a run in time."""

from __future__ import annotations

import os
import signal

import pytest

from mxface.errors import NonFiniteLossError
from mxface.train.guard import StopSignals, require_finite_loss


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_names_step_and_records(loss: float) -> None:
    with pytest.raises(NonFiniteLossError, match=rf"step 7: the loss is {loss}; .*Records of the batch: 3, 5\. "):
        require_finite_loss(loss, step=7, records=[3, 5])
    require_finite_loss(1.5, step=7, records=[3, 5])


def test_many_records_are_cut_short() -> None:
    with pytest.raises(NonFiniteLossError, match=r"0, 1, .*, 15, …\. "):
        require_finite_loss(float("nan"), step=1, records=list(range(512)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_once_and_then_acts(number: signal.Signals) -> None:
    def earlier(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(number, earlier)
    try:
        with StopSignals() as stop:
            assert stop.received is None
            os.kill(os.getpid(), number)
            assert stop.received is number
            with pytest.raises(InterruptedError):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is earlier
    finally:
        signal.signal(number, before)
