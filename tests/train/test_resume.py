"""What a resumed run says, and what may differ from the run before."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.tiny import tiny_learner

from mxface.errors import ConfigError
from mxface.train.checkpoint import SaveRule
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.state import StateFolder


def run_state(folder: Path, progress: Progress, *, global_batch: int = 10, ranks: int = 1, seed: int = 3) -> RunState:
    return RunState(
        StateFolder(folder),
        tiny_learner(),
        progress,
        SaveRule(ckpt=3),
        {"seed": seed},
        setting={"global_batch": global_batch, "ranks": ranks},
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"global_batch": 64}, "; global batch 64, was 10"),
        ({"global_batch": 64, "ranks": 4}, "; global batch 64, was 10; ranks 4, was 1"),
    ],
)
def test_another_batch_and_number_of_ranks_are_said(tmp_path: Path, changes: dict[str, int], said: str) -> None:
    run_state(tmp_path, Progress(step=7, epoch=2, batch=3, images=30)).save()
    progress = Progress()
    resumed = run_state(tmp_path, progress, **changes).resume()
    assert resumed is not None and resumed.path == tmp_path / "step-00000007"
    assert resumed.account == f"resumed from {resumed.path}: goes on at image 30 of epoch 2, batch 8{said}"
    assert progress == Progress(step=7, epoch=2, batch=3, images=30)


def test_another_seed_is_refused(tmp_path: Path) -> None:
    run_state(tmp_path, Progress(step=7)).save()
    with pytest.raises(ConfigError, match="was written with seed 3, this run has 4: they must be equal"):
        run_state(tmp_path, Progress(), seed=4).resume()


def test_the_step_before_is_used_where_the_newest_is_damaged(tmp_path: Path) -> None:
    progress = Progress(step=1, images=10)
    state = run_state(tmp_path, progress)
    state.save()
    progress.advance(10)
    state.save()
    (tmp_path / "step-00000002" / ".metadata").write_bytes(b"")
    again = Progress()
    resumed = run_state(tmp_path, again).resume()
    assert resumed is not None and resumed.path.name == "step-00000001"
    assert (again.step, again.images) == (1, 10)


def test_a_state_is_written_once_a_step(tmp_path: Path) -> None:
    state = run_state(tmp_path, Progress(step=1))
    state.save()
    written = (tmp_path / "step-00000001" / ".metadata").stat().st_mtime_ns
    state.save()
    assert (tmp_path / "step-00000001" / ".metadata").stat().st_mtime_ns == written
    resumed = run_state(tmp_path, Progress())
    resumed.resume()
    resumed.save()
    assert (tmp_path / "step-00000001" / ".metadata").stat().st_mtime_ns == written
