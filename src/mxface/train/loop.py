"""The training loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mxface.errors import NoTripletsError
from mxface.loaders import Batch, RecordDataset
from mxface.losses import HeadOutput
from mxface.ranks import Ranks
from mxface.train.config import TrainConfig
from mxface.train.guard import BadBatches, LastUpdate, NotFiniteError, StopSignals, require_finite_loss
from mxface.train.judge import Judge
from mxface.train.learner import Trainee
from mxface.train.log import BatchReport
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.schedule import StepSchedule


class Batches(Protocol):
    """What is trained on: the epochs of a `TrainLoader`, or rounds of triplets."""

    dataset: RecordDataset

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        """This rank's rows of the batches of an epoch, from the image at position `start_image` on."""

    def close(self) -> None:
        """End what reads ahead."""


def fit(
    learner: Trainee,
    loader: Batches,
    config: TrainConfig,
    *,
    progress: Progress,
    judge: Judge,
    state: RunState,
    report: BatchReport,
    stop: StopSignals,
) -> None:
    """Train until batch `max_steps` + 1 or a signal; the state is saved at the end either way.

    Raises NoTripletsError, the state saved, where mining finds nothing more, and NonFiniteLossError before an update
    that would spoil the parameters, where `--on-nan` does not say otherwise. A network that its last update has spoiled
    all the same is neither verified nor saved; at the end that is a NonFiniteLossError, too.
    """

    def check(output: HeadOutput) -> None:
        stop.agree()  # first: a rank that is gone is an error here, where a GPU would wait for it
        require_finite_loss(output)

    update = LastUpdate(learner.preview)
    schedule = StepSchedule(config.lr, config.lr_steps)
    bad_batches = BadBatches(config.on_nan, loader.dataset.keys, state, Ranks.current())
    while not is_over(progress, config, stop):
        report.begin_epoch()
        try:
            batches = loader.epoch(progress.epoch, start_image=progress.images)
        except NoTripletsError:
            if update.is_sound():
                state.save()  # what has been learned is good
            raise
        for batch in batches:
            stop.begin_agreement()
            lr = schedule.lr_after(progress.step)
            try:
                trained = learner.train_batch(batch, step=progress.step + 1, lr=lr, check=check)
            except NotFiniteError as fault:
                bad_batches.pass_over(fault, batch, step=progress.step + 1)
                progress.pass_over(config.batch_size)
                update.look_again()
                if is_over(progress, config, stop):
                    break
                continue
            bad_batches.note_good()
            progress.advance(config.batch_size)
            update.note(batch, progress.step)
            report.after_batch(progress, trained, lr=lr, next_lr=schedule.lr_after(progress.step))
            if progress.step % config.verbose == 0 and update.is_sound():
                judge.verify(progress.step)
            if config.state_steps and progress.step % config.state_steps == 0 and update.is_sound():
                state.save()
            if is_over(progress, config, stop):
                break
        else:
            report.end_epoch(progress.epoch)
            progress.begin_next_epoch()
    update.require_sound()
    state.save()


def is_over(progress: Progress, config: TrainConfig, stop: StopSignals) -> bool:
    """Whether the run ends here: 2019 trained one batch more than `max_steps`."""
    after_last_epoch = 0 < config.end_epoch <= progress.epoch
    return stop.received is not None or after_last_epoch or 0 < config.max_steps < progress.step
