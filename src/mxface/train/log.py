"""Where a run's figures go: 2019's lines to the console, scalars to TensorBoard, a bar where there is a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from torch import Tensor
from tqdm import tqdm

from mxface.train.event_file import EventFile
from mxface.train.learner import TrainedBatch
from mxface.train.metrics import AccMetric, LossValueMetric, Metric, Speedometer, epoch_lines
from mxface.train.progress import Progress
from mxface.train.watch import Watch

# MXNet logged through the root logger, and people's scripts look for its `INFO:root:`
mxnet_log = logging.getLogger()

RATE_LINE_STEPS = 1000


class RunLog:
    """Lines through `say` (a command gives its print), scalars under `folder`; to be closed.

    Of many ranks the main one alone has a `folder`: without one there are no scalars and there is no bar.
    """

    def __init__(self, say: Callable[[str], object], folder: Path | None, *, first_step: int, max_steps: int) -> None:
        self.say = say
        self._writer = EventFile(folder, first_step=first_step + 1) if folder else None
        self._bar = tqdm(
            total=max_steps + 1 if max_steps else None,
            initial=first_step,
            desc="train",
            unit="batch",
            disable=None if folder else True,
            dynamic_ncols=True,
        )

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._writer:
            self._writer.close()

    def advance(self) -> None:
        """One batch was trained."""
        self._bar.update()

    def mxnet_line(self, line: str) -> None:
        """A line that MXNet logged: `INFO:root:…` on stderr."""
        mxnet_log.info("%s", line)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Figures after batch `step`."""
        if self._writer:
            for name, value in values.items():
                self._writer.scalar(step, name, value)


class BatchReport:
    """What is said after each batch and each epoch.

    `parall_verbose` above 0: in train_parall.py's way, no figures in the lines, but the accuracy every so many batches.
    """

    def __init__(
        self,
        log: RunLog,
        *,
        batch_size: int,
        frequent: int,
        with_lossvalue: bool,
        with_accuracy: bool = True,
        parall_verbose: int = 0,
        watch: Watch | None = None,
    ) -> None:
        self._log = log
        self._batch_size = batch_size
        self._frequent = frequent
        self._speedometer = Speedometer(batch_size, frequent)
        self._parall_verbose = parall_verbose
        self._watch = watch
        self._metrics: list[Metric] = []
        if with_accuracy and not parall_verbose:
            self._metrics.append(AccMetric())
        if with_lossvalue and not parall_verbose:
            self._metrics.append(LossValueMetric())
        self._window: dict[str, Metric] = {"train/accuracy": AccMetric(), "train/loss": LossValueMetric()}
        self._window_batches = 0
        self._window_started = self._epoch_started = time.perf_counter()

    def begin_epoch(self) -> None:
        """Before the first batch, also of a resumed epoch."""
        self._log.say("call reset()")
        self._epoch_started = time.perf_counter()

    def after_batch(self, progress: Progress, trained: TrainedBatch, *, lr: float, next_lr: float) -> None:
        """2019's lines, in its order. `progress` already counts the batch; `lr` is the rate it was trained with."""
        self._log.advance()
        if self._watch is not None and progress.step == 1:
            self._watch.first_loss(float(trained.output.loss))
        if self._parall_verbose and progress.step % self._parall_verbose == 0:
            self._log.say(f"{{fc7_acc}} {progress.step} {float(trained.output.correct.double().mean())}")
        if next_lr != lr:
            self._log.say(f"lr change to {next_lr}")
        for metric in (*self._metrics, *self._window.values()):
            metric.update(trained.output)
        self._window_batches += 1
        line = self._speedometer.line(progress.epoch, progress.batch - 1, self._metrics)
        if line is not None:
            self._log.mxnet_line(line)
        if progress.step % RATE_LINE_STEPS == 0:
            self._log.say(f"lr-batch-epoch: {next_lr} {progress.batch - 1} {progress.epoch}")
        if progress.step % self._frequent == 0:
            self._log.scalars(progress.step, self._window_figures(progress.step, trained.embedding, lr))

    def end_epoch(self, epoch: int) -> None:
        """After the last batch."""
        for line in epoch_lines(epoch, self._metrics, time.perf_counter() - self._epoch_started):
            self._log.mxnet_line(line)

    def _window_figures(self, step: int, embedding: Tensor, lr: float) -> dict[str, float]:
        """Means over the batches since the last figures; the embedding's length is of the last one alone."""
        figures = {name: metric.value() for name, metric in self._window.items()}
        for metric in self._window.values():
            metric.reset()
        if self._watch is not None:
            self._watch.window(
                step=step,
                steps=self._window_batches,
                accuracy=figures["train/accuracy"],
                loss=figures["train/loss"],
                embedding=embedding,
            )
        now = time.perf_counter()
        figures["train/images_per_second"] = self._window_batches * self._batch_size / (now - self._window_started)
        self._window_started, self._window_batches = now, 0
        figures["train/embedding_norm"] = float(embedding.float().norm(dim=1).mean())
        figures["train/learning_rate"] = lr
        return figures
