"""The training loop."""

from __future__ import annotations

from mxface.loaders import Batch, TrainLoader
from mxface.losses import HeadOutput
from mxface.train.config import TrainConfig
from mxface.train.guard import StopSignals, require_finite_loss
from mxface.train.judge import Judge
from mxface.train.learner import Trainee
from mxface.train.log import BatchReport
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.schedule import StepSchedule


def fit(
    learner: Trainee,
    loader: TrainLoader,
    config: TrainConfig,
    *,
    progress: Progress,
    judge: Judge,
    state: RunState,
    report: BatchReport,
    stop: StopSignals,
) -> None:
    """Train until batch `max_steps` + 1 or a signal; the state is saved at the end either way.

    Raises NonFiniteLossError before the update that would spoil the parameters.
    """
    schedule = StepSchedule(config.lr, config.lr_steps)
    while not is_over(progress, config, stop):
        report.begin_epoch()
        for batch in loader.epoch(progress.epoch, start_image=progress.images):

            def check(output: HeadOutput, batch: Batch = batch) -> None:
                # on a GPU this waits for the forward alone: the backward is not queued yet
                records = loader.dataset.keys[batch.index].tolist()
                require_finite_loss(float(output.loss), step=progress.step + 1, records=records)

            lr = schedule.lr_after(progress.step)
            trained = learner.train_batch(batch, step=progress.step + 1, lr=lr, check=check)
            progress.advance(config.batch_size)
            report.after_batch(progress, trained, lr=lr, next_lr=schedule.lr_after(progress.step))
            if progress.step % config.verbose == 0:
                judge.verify(progress.step)
            if config.state_steps and progress.step % config.state_steps == 0:
                state.save()
            if is_over(progress, config, stop):
                break
        else:
            report.end_epoch(progress.epoch)
            progress.begin_next_epoch()
    state.save()


def is_over(progress: Progress, config: TrainConfig, stop: StopSignals) -> bool:
    """Whether the run ends here: 2019 trained one batch more than `max_steps`."""
    return stop.received is not None or 0 < config.max_steps < progress.step
