"""Running training figures, and the lines that MXNet printed of them.

Sums stay on their device until a line is due, so that a GPU is waited for once in `frequent` batches.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mxface.losses import HeadOutput


class Metric(ABC):
    """The mean of something of every batch since the last reset."""

    name: str

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._count = 0
        self._taken: float | None = None

    @abstractmethod
    def measured(self, output: HeadOutput) -> Tensor:
        """What is averaged: any number of values."""

    def update(self, output: HeadOutput) -> None:
        """Add a batch."""
        values = self.measured(output).detach()
        total = values.sum(dtype=torch.float64)
        self._total = total if self._total is None else self._total + total
        self._count += values.numel()

    def value(self) -> float:
        """The mean; nan when nothing was added, as in MXNet."""
        return math.nan if self._total is None else float(self._total) / self._count

    def last_value(self) -> float | None:
        """The mean, or where nothing was added since `take` what that gave; None where there is neither."""
        return self.value() if self._count else self._taken

    def take(self) -> float:
        """The mean, for a line in the midst of an epoch; then start anew."""
        value = self.value()
        self.reset()
        self._taken = value
        return value

    def reset(self) -> None:
        """Start anew."""
        self._total, self._count, self._taken = None, 0, None


class AccMetric(Metric):
    """Share of rows whose largest logit, margin included, is their label's."""

    name = "acc"

    def measured(self, output: HeadOutput) -> Tensor:
        """One value a row."""
        return output.correct


class LossValueMetric(Metric):
    """2019's `ce_loss` output: the batch's mean cross entropy and what the loss adds to it, averaged over batches."""

    name = "lossvalue"

    def measured(self, output: HeadOutput) -> Tensor:
        """One value a batch."""
        return output.loss


class Speedometer:
    """MXNet's speed line: every `frequent` batches, first at number `frequent` of an epoch (numbers start at 0).

    The epoch's first batch only starts the clock, and so does the first one of a run that goes on inside an epoch.
    """

    def __init__(self, batch_size: int, frequent: int, clock: Callable[[], float] = time.time) -> None:
        self._batch_size = batch_size
        self._frequent = frequent
        self._clock = clock
        self._last_batch: int | None = None
        self._started, self._started_at = 0.0, 0

    def line(self, epoch: int, batch: int, metrics: Sequence[Metric]) -> str | None:
        """The line, if one is due after this batch; then the metrics start anew. No metrics: train_parall's line."""
        is_first = self._last_batch is None or batch < self._last_batch
        self._last_batch = batch
        if not is_first and batch % self._frequent:
            return None
        seconds = self._clock() - self._started
        line = None if is_first else self._text(epoch, batch, seconds, metrics)
        self._started, self._started_at = self._clock(), batch
        return line

    def _text(self, epoch: int, batch: int, seconds: float, metrics: Sequence[Metric]) -> str:
        count = batch - self._started_at
        speed = count * self._batch_size / seconds if seconds > 0 else math.inf
        if not metrics:
            return f"Iter[{epoch}] Batch [{batch}]\tSpeed: {speed:.2f} samples/sec"
        figures = "".join(f"\t{metric.name}={metric.take():f}" for metric in metrics)
        return f"Epoch[{epoch}] Batch [{self._started_at}-{batch}]\tSpeed: {speed:.2f} samples/sec{figures}"


def epoch_lines(epoch: int, metrics: Sequence[Metric], seconds: float) -> list[str]:
    """What MXNet logs when an epoch ends: figures since the last speed line; then the metrics start anew.

    As there, the epoch's last batch counts also where its own speed line has just been printed. A run that was resumed
    behind the last batch has no figures.
    """
    figures = [(metric.name, metric.last_value()) for metric in metrics]
    for metric in metrics:
        metric.reset()
    lines = [f"Epoch[{epoch}] Train-{name}={value:f}" for name, value in figures if value is not None]
    return [*lines, f"Epoch[{epoch}] Time cost={seconds:.3f}"]
