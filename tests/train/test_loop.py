"""The loop: what it says and when, how it stops, and that it goes on as if it had not."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.tiny import CONFIG, TinyLoader, configure, tiny_learner

from mxface.errors import ConfigError, NonFiniteLossError, NoTripletsError
from mxface.loaders import Batch
from mxface.train.checkpoint import SaveRule
from mxface.train.config import TrainConfig
from mxface.train.guard import StopSignals
from mxface.train.judge import Judge
from mxface.train.learner import Learner, TrainedBatch
from mxface.train.log import BatchReport, RunLog
from mxface.train.loop import fit
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.state import StateFolder


class Run:
    """A tiny run in `folder`, put together as the command does it."""

    def __init__(self, folder: Path, config: TrainConfig, loader: Any = None) -> None:
        self.config, self.folder = config, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.learner: Learner = tiny_learner(config)
        self.loader = loader or TinyLoader()
        self.progress, self.rule = Progress(), SaveRule(ckpt=config.ckpt)
        identity = {"seed": config.seed, "batch_size": config.batch_size}
        self.state = RunState(StateFolder(folder / "state"), self.learner, self.progress, self.rule, identity)
        self.lines: list[str] = []
        self.saved: list[int] = []

    def save(self, number: int) -> Path:
        self.saved.append(number)
        return Path(f"model-{number:04d}.params")

    def train(self, stop: StopSignals | None = None) -> None:
        """Until the config's max_steps + 1."""
        config = self.config
        folder = self.folder / "tensorboard"
        with RunLog(self.lines.append, folder, first_step=self.progress.step, max_steps=config.max_steps) as log:
            judge = Judge(self.learner, (), self.rule, self.save, batch_size=config.batch_size, log=log)
            report = BatchReport(log, batch_size=config.batch_size, frequent=config.frequent, with_lossvalue=True)
            fit(
                self.learner,
                self.loader,
                config,
                progress=self.progress,
                judge=judge,
                state=self.state,
                report=report,
                stop=stop or StopSignals(),
            )

    def parameters(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.learner.tensors().items()}


def test_max_steps_trains_one_batch_more_and_saves_the_state(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=5))
    run.train()
    assert (run.progress.step, run.progress.epoch, run.progress.batch) == (6, 1, 2)
    assert [path.name for path in StateFolder(tmp_path / "state").list_states()] == ["step-00000006"]
    run.train()  # nothing left to do
    assert run.progress.step == 6


def test_a_run_that_has_no_triplets_any_more_keeps_what_it_has_learned(tmp_path: Path) -> None:
    class Learned(TinyLoader):
        def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
            if epoch == 2:
                raise NoTripletsError("a message of the test")
            return super().epoch(epoch, start_image)

    run = Run(tmp_path, configure(max_steps=20), Learned())
    with pytest.raises(NoTripletsError):
        run.train()
    assert [path.name for path in StateFolder(tmp_path / "state").list_states()] == ["step-00000008"]
    again = Run(tmp_path, configure(max_steps=20))
    again.state.resume()
    assert again.progress == Progress(step=8, epoch=2)
    assert_same_bits(again, run)


def test_lines_and_their_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configure(max_steps=5, lr_steps=(2, 4), verbose=2, ckpt=2, lr=1.0)
    run = Run(tmp_path, config)
    with caplog.at_level(logging.INFO):
        run.train()
    assert run.lines == [
        "call reset()",
        "lr change to 0.1",
        "saving 1",
        "[2]Accuracy-Highest: 0.00000",
        "lr change to 0.010000000000000002",
        "saving 2",
        "[4]Accuracy-Highest: 0.00000",
        "call reset()",
        "saving 3",
        "[6]Accuracy-Highest: 0.00000",
    ]
    assert run.saved == [1, 2, 3]
    root_lines = [record.getMessage() for record in caplog.records if record.name == "root"]
    assert [re.split(r"[=:]", line)[0] for line in root_lines] == [
        'Saved checkpoint to "model-0001.params"',
        "Epoch[0] Batch [0-2]\tSpeed",
        'Saved checkpoint to "model-0002.params"',
        "Epoch[0] Train-acc",
        "Epoch[0] Train-lossvalue",
        "Epoch[0] Time cost",
        'Saved checkpoint to "model-0003.params"',
    ]


def test_rate_line_every_thousand_batches(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=1000, lr_steps=(999,), frequent=500))
    run.train()
    assert [line for line in run.lines if line.startswith("lr")] == [
        "lr change to 0.010000000000000002",
        "lr-batch-epoch: 0.010000000000000002 3 249",
    ]


def test_scalars_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path, configure(max_steps=5))
    run.train()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = ("accuracy", "embedding_norm", "images_per_second", "learning_rate", "loss")
    assert set(events.Tags()["scalars"]) == {f"train/{name}" for name in names}
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6]
    assert all(np.isfinite(event.value) for name in names for event in events.Scalars(f"train/{name}"))


class SpoiledLoader(TinyLoader):
    """Pixels that are no numbers, in the batches `spoiled` of every epoch."""

    def __init__(self, *spoiled: int) -> None:
        self.spoiled = spoiled

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(super().epoch(epoch, start_image), start_image // CONFIG.batch_size):
            data = batch.data.astype(np.float32)
            if number in self.spoiled:
                data[1] = np.nan
            yield replace(batch, data=data)


class SparingLoader(TinyLoader):
    """The same batches without the `spoiled` ones."""

    def __init__(self, *spoiled: int) -> None:
        self.spoiled = spoiled

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        batches = enumerate(super().epoch(epoch))
        return iter([batch for number, batch in batches if number not in self.spoiled])


def assert_same_bits(found: Run, expected: Run) -> None:
    expected_parameters = expected.parameters()
    for name, tensor in found.parameters().items():
        assert torch.equal(tensor, expected_parameters[name]), name


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=5, state_steps=1), SpoiledLoader(2))
    with pytest.raises(NonFiniteLossError, match=r"step 3: the loss is nan\. Records of the batch 100, 101, 102, "):
        run.train()
    reference = Run(tmp_path / "reference", configure(max_steps=1))
    reference.train()
    written_by_forward = "backbone/fc1_gamma"  # fix_gamma writes 1, as MXNet does
    run.learner.tensors()[written_by_forward].copy_(reference.learner.tensors()[written_by_forward])
    assert_same_bits(run, reference)
    assert [path.name for path in StateFolder(tmp_path / "state").list_states()] == ["step-00000001", "step-00000002"]


def test_a_skipped_batch_leaves_no_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path, configure(max_steps=5, on_nan="skip"), SpoiledLoader(1, 3))
    run.train()
    reference = Run(tmp_path / "reference", configure(max_steps=5), SparingLoader(1, 3))
    reference.train()
    assert_same_bits(run, reference)
    assert run.progress == Progress(step=6, epoch=2, batch=3, images=30)
    skips = [record.getMessage() for record in caplog.records if record.name == "mxface.train.guard"]
    assert [text.split(".")[0] for text in skips] == [f"step {step}: the loss is nan" for step in (2, 3, 4, 5, 6)]


def test_nothing_but_bad_batches_ends_a_run_that_skips(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=5, on_nan="skip"), SpoiledLoader(0, 1, 2, 3))
    with pytest.raises(NonFiniteLossError, match=r"step 1: .* number 10 in a row"):
        run.train()


def test_a_rollback_takes_the_learner_back_and_the_data_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path, configure(max_steps=4, state_steps=2, on_nan="rollback"), SpoiledLoader(3))
    run.train()
    assert run.progress == Progress(step=5, epoch=1, batch=2, images=20)
    reference = Run(tmp_path / "reference", configure(max_steps=1))
    reference.train()
    for number, batch in enumerate(list(TinyLoader().epoch(1))[:2]):  # step 3 is undone, its number is not
        reference.learner.train_batch(batch, step=4 + number, lr=CONFIG.lr, check=lambda _: None)
    assert_same_bits(run, reference)
    assert "step 4: the loss is nan" in caplog.text
    assert "Everything goes back to the state of step 2, the data go on" in caplog.text


def test_a_rollback_of_the_first_batch_finds_the_start(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=1, on_nan="rollback"), SpoiledLoader(0))
    start = run.parameters()
    run.train()
    assert not torch.equal(run.parameters()["head/fc7_weight"], start["head/fc7_weight"])
    reference = Run(tmp_path / "reference", configure(max_steps=1), SparingLoader(0))
    reference.train()
    assert_same_bits(run, reference)


def test_rollbacks_without_progress_end(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=100, on_nan="rollback"), SpoiledLoader(1))
    with pytest.raises(NonFiniteLossError, match=r"step 11: .* went back to step 0 3 times"):
        run.train()


def spoil(run: Run, *steps: int) -> None:
    """Let the updates `steps` write what is no number, which the losses before them do not show."""
    train_batch = run.learner.train_batch

    def train_and_spoil(batch: Batch, *, step: int, **settings: Any) -> TrainedBatch:
        trained = train_batch(batch, step=step, **settings)
        if step in steps:
            run.learner.tensors()["backbone/conv0_weight"].fill_(torch.nan)
        return trained

    run.learner.train_batch = train_and_spoil  # type: ignore[method-assign]


def states(folder: Path) -> list[str]:
    return [path.name for path in StateFolder(folder / "state").list_states()]


class SignalLoader(TinyLoader):
    """A SIGTERM arrives with the third batch."""

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        for number, batch in enumerate(super().epoch(epoch, start_image), start_image // CONFIG.batch_size):
            if number == 2:
                signal.raise_signal(signal.SIGTERM)
            yield batch


def test_an_update_that_spoiled_the_network_is_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """--resume would stop at its first batch, again and again."""
    run = Run(tmp_path, configure(max_steps=20, state_steps=2, verbose=2, ckpt=2))
    spoil(run, 4)
    with pytest.raises(NonFiniteLossError, match="step 5: the loss is nan"):
        run.train()
    assert (states(tmp_path), run.saved) == (["step-00000002"], [1])
    warning = "step 4 has spoiled the network: now the loss is nan of its own batch; it is neither verified nor saved"
    assert caplog.text.count(warning) == 1
    again = Run(tmp_path, configure(max_steps=8, state_steps=2, verbose=2, ckpt=2))
    assert again.state.resume() is not None
    again.train()
    assert (again.progress.step, again.saved) == (9, [2, 3, 4])
    assert again.parameters()["head/fc7_weight"].isfinite().all()


def test_a_rollback_leads_behind_the_update_that_spoiled_the_network(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=8, state_steps=2, verbose=2, ckpt=2, on_nan="rollback"))
    spoil(run, 4)
    run.train()
    assert run.progress.step == 9
    assert (states(tmp_path), run.saved) == (["step-00000008", "step-00000009"], [1, 2, 3])


@pytest.mark.parametrize("loader", [TinyLoader, SignalLoader])
def test_a_run_whose_last_update_spoiled_the_network_does_not_end_well(
    tmp_path: Path, loader: type[TinyLoader]
) -> None:
    """At its end, and where a signal ends it."""
    run = Run(tmp_path, configure(max_steps=2, state_steps=2, verbose=3, ckpt=2), loader())
    spoil(run, 3)
    with StopSignals() as stop, pytest.raises(NonFiniteLossError, match="step 3, the last one, has spoiled the netw"):
        run.train(stop)
    assert (states(tmp_path), run.saved) == (["step-00000002"], [])


def test_a_run_that_ends_behind_a_rollback_ends_well(tmp_path: Path) -> None:
    """What it has rolled back to is sound again."""
    run = Run(tmp_path, configure(end_epoch=1, state_steps=2, on_nan="rollback"))
    spoil(run, 3)
    run.train()
    assert states(tmp_path) == ["step-00000002", "step-00000003"]
    assert run.parameters()["backbone/conv0_weight"].isfinite().all()


def test_a_signal_finishes_the_batch_and_saves(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(), SignalLoader())
    with StopSignals() as stop:
        run.train(stop)
    assert stop.received is signal.SIGTERM
    assert run.progress.step == 3
    assert [path.name for path in StateFolder(tmp_path / "state").list_states()] == ["step-00000003"]


# inside an epoch, and at the end of one
@pytest.mark.parametrize("first_steps", [1, 2, 3, 4, 6])
def test_a_resumed_run_gives_the_same_bits(tmp_path: Path, first_steps: int) -> None:
    whole = Run(tmp_path / "whole", configure(max_steps=8))
    whole.train()
    begun = Run(tmp_path / "parts", configure(max_steps=first_steps - 1) if first_steps > 1 else configure(max_steps=8))
    if first_steps > 1:
        begun.train()
    else:
        begun.state.save()  # before the first batch
    torch.manual_seed(12345)  # the generator of another process
    resumed = Run(tmp_path / "parts", configure(max_steps=8))
    assert resumed.state.resume() is not None
    resumed.train()
    assert resumed.progress == whole.progress
    expected = whole.parameters()
    for name, tensor in resumed.parameters().items():
        assert torch.equal(tensor, expected[name]), name


def test_the_save_rule_is_resumed(tmp_path: Path) -> None:
    run = Run(tmp_path, configure(max_steps=1))
    for accuracies in ((0.5, 0.9), (0.6, 0.9)):
        run.rule.number_to_save(accuracies)
    run.train()
    resumed = Run(tmp_path, configure(max_steps=1, ckpt=1))
    resumed.state.resume()
    assert resumed.rule == SaveRule(ckpt=1, verifications=2, best_last=0.9, best_sum=1.5)


def test_a_state_of_another_order_is_refused(tmp_path: Path) -> None:
    Run(tmp_path, configure(max_steps=1)).train()
    with pytest.raises(ConfigError, match="was written with seed 0, this run has 1: they must be equal"):
        Run(tmp_path, configure(seed=1)).state.resume()


def test_nothing_to_resume_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, configure())
    assert run.state.resume() is None
    assert run.progress == Progress()
