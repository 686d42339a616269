"""Figures for TensorBoard: read back by TensorBoard itself, and not worth a run."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mxface.train.event_file import EventFile


def test_tensorboard_reads_the_figures_and_forgets_what_is_trained_anew(tmp_path: Path) -> None:
    first = EventFile(tmp_path, first_step=1)
    for step in (1, 2, 3):
        first.scalar(step, "train/loss", 10.0 * step)
    first.close()
    resumed = EventFile(tmp_path, first_step=3)  # from the state of step 2
    resumed.scalar(3, "train/loss", 33.0)
    resumed.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 10.0), (2, 20.0), (3, 33.0)]


def test_a_full_disk_ends_the_figures_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    events = EventFile(tmp_path, first_step=1)
    events.scalar(1, "train/loss", 1.0)
    monkeypatch.setattr(events._writer, "flush", full)
    events.scalar(2, "train/loss", 2.0)
    events.scalar(3, "train/loss", 3.0)
    events.close()
    said = f"{tmp_path}: No space left on device; no more figures for TensorBoard from here on"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_a_run_without_figures_leaves_nothing_and_a_folder_that_has_gone_is_not_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    EventFile(tmp_path / "tensorboard", first_step=1).close()
    assert list(tmp_path.iterdir()) == []
    events = EventFile(tmp_path / "run" / "tensorboard", first_step=1)
    events.scalar(1, "train/loss", 1.0)
    events.close()
    assert "No such file or directory; no more figures" in caplog.text
    assert list(tmp_path.iterdir()) == []
