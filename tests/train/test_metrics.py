"""Figures and printed lines, the latter against MXNet's own Speedometer."""

from __future__ import annotations

import logging
import math
import time
from types import SimpleNamespace

import pytest
import torch

from mxface.losses import HeadOutput
from mxface.train.metrics import AccMetric, LossValueMetric, Speedometer, epoch_lines


def output(loss: float, correct: list[bool]) -> HeadOutput:
    return HeadOutput(torch.tensor(loss), torch.full((len(correct),), loss), torch.tensor(correct))


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_metrics_average_and_start_anew() -> None:
    acc, loss = AccMetric(), LossValueMetric()
    for metric in (acc, loss):
        assert math.isnan(metric.value())
        metric.update(output(2.0, [True, False, False, False]))
        metric.update(output(4.0, [True, True]))
    assert (acc.value(), loss.value()) == (0.5, 3.0)  # rows count for acc, batches for lossvalue
    acc.reset()
    assert math.isnan(acc.value())


def test_speed_lines_of_train_and_train_parall() -> None:
    clock = Clock()
    speedometer, parall = Speedometer(64, 2, clock), Speedometer(64, 2, clock)
    metrics = [AccMetric(), LossValueMetric()]
    lines = []
    for epoch in range(2):
        for batch in range(4):
            for metric in metrics:
                metric.update(output(1.5 + batch, [True, False]))
            lines.append((speedometer.line(epoch, batch, metrics), parall.line(epoch, batch, [])))
            clock.now += 0.5
    due = [pair for pair in lines if pair != (None, None)]
    assert lines.index(due[0]) == 2
    assert due == [
        (
            f"Epoch[{epoch}] Batch [0-2]\tSpeed: 128.00 samples/sec\tacc=0.500000\tlossvalue={loss:f}",
            f"Iter[{epoch}] Batch [2]\tSpeed: 128.00 samples/sec",
        )
        for epoch, loss in [(0, 2.5), (1, (4.5 + 1.5 + 2.5 + 3.5) / 4)]  # the last batch of epoch 0 was not printed
    ]


def test_lines_of_an_epoch() -> None:
    acc = AccMetric()
    acc.update(output(1.0, [True, True, False, True]))
    assert epoch_lines(3, [acc], 12.3456) == ["Epoch[3] Train-acc=0.750000", "Epoch[3] Time cost=12.346"]
    assert math.isnan(acc.value())
    assert epoch_lines(4, [acc], 0.0) == ["Epoch[4] Time cost=0.000"]  # resumed behind its last batch


@pytest.mark.parametrize("batches", [4, 5])
def test_an_epoch_that_ends_with_a_speed_line_has_figures(batches: int) -> None:
    clock, acc = Clock(), AccMetric()
    speedometer = Speedometer(64, 2, clock)
    for batch in range(batches):
        acc.update(output(1.0, [batch == 3]))
        speedometer.line(0, batch, [acc])
        clock.now += 0.5
    # of 4 batches that of the batch after the line; of 5 that of the line itself, batches 3 and 4
    assert epoch_lines(0, [acc], 0.0)[0] == f"Epoch[0] Train-acc={1.0 if batches == 4 else 0.5:f}"


def test_the_first_line_of_a_resumed_epoch_is_of_the_batches_since() -> None:
    clock = Clock()
    speedometer, lines = Speedometer(64, 4, clock), []
    for batch in range(3, 9):
        lines.append(speedometer.line(0, batch, [AccMetric()]))
        clock.now += 0.5
    due = [line for line in lines if line]
    assert [line.split("\tacc")[0] for line in due] == [
        "Epoch[0] Batch [3-4]\tSpeed: 128.00 samples/sec",
        "Epoch[0] Batch [4-8]\tSpeed: 128.00 samples/sec",
    ]


def test_no_time_at_all() -> None:
    speedometer = Speedometer(64, 1, Clock())
    assert [speedometer.line(0, batch, []) for batch in range(2)] == [None, "Iter[0] Batch [1]\tSpeed: inf samples/sec"]


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MXNet's own, of numpy
@pytest.mark.parametrize("frequent", [1, 2, 3, 20])
def test_lines_equal_mxnet(frequent: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import mxnet as mx

    class Loss(mx.metric.EvalMetric):  # type: ignore[misc]
        def update(self, labels: object, preds: float) -> None:
            self.sum_metric += preds
            self.num_inst += 1

    clock, loss, theirs_metric = Clock(), LossValueMetric(), Loss("lossvalue")
    monkeypatch.setattr(time, "time", clock)
    ours, theirs = Speedometer(8, frequent, clock), mx.callback.Speedometer(8, frequent)
    caplog.set_level(logging.INFO)
    lines = []
    for epoch in range(2):
        for batch in range(7):
            loss.update(output(batch / 3, [True]))
            theirs_metric.update(None, batch / 3)
            lines.append(ours.line(epoch, batch, [loss]))
            theirs(SimpleNamespace(epoch=epoch, nbatch=batch, eval_metric=theirs_metric))
            clock.now += 0.25
    assert [line for line in lines if line] == [record.getMessage() for record in caplog.records]


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # MXNet's own
@pytest.mark.parametrize("batches", [4, 5, 6])
def test_lines_of_epochs_equal_those_of_module_fit(
    batches: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import mxnet as mx

    counted = iter(range(100))

    class Loss(mx.metric.EvalMetric):  # type: ignore[misc]
        def update(self, labels: object, preds: object) -> None:
            self.sum_metric += next(counted) / 3
            self.num_inst += 1

    monkeypatch.setattr(time, "time", Clock())
    dense = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=1)
    module = mx.mod.Module(mx.sym.LinearRegressionOutput(dense, name="softmax"))
    caplog.set_level(logging.INFO)
    data = mx.io.NDArrayIter(mx.nd.ones((batches, 2)), mx.nd.ones(batches), batch_size=1)
    speed_line = mx.callback.Speedometer(1, 2)
    module.fit(data, eval_metric=Loss("lossvalue"), num_epoch=2, batch_end_callback=speed_line)
    theirs = [record.getMessage() for record in caplog.records if "lossvalue" in record.getMessage()]

    loss, speedometer, lines = LossValueMetric(), Speedometer(1, 2, Clock()), []
    for epoch in range(2):
        for batch in range(batches):
            loss.update(output((epoch * batches + batch) / 3, [True]))
            lines.append(speedometer.line(epoch, batch, [loss]))
        lines += epoch_lines(epoch, [loss], 0.0)[:1]
    assert [line for line in lines if line] == theirs
