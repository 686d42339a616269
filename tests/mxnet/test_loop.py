"""The loop around MXNet: states, skipped batches and rollbacks, beside the same runs on torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.mxnet.engines import assert_alike, build_engines, same_bits
from tests.train import test_loop
from tests.train.test_loop import Run, SpoiledLoader
from tests.train.tiny import configure

from mxface.errors import NonFiniteLossError

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def start(folder: Path, monkeypatch: pytest.MonkeyPatch, engine: str, *arguments: Any) -> Run:
    """A run whose learner is that engine's."""
    monkeypatch.setattr(test_loop, "tiny_learner", lambda config: getattr(build_engines("softmax", config), engine))
    return Run(folder / engine, *arguments)


@pytest.mark.parametrize("engine", ["torch", "mxnet"])
def test_a_resumed_run_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    whole = start(tmp_path / "whole", monkeypatch, engine, configure(max_steps=5))
    whole.train()
    for last in (2, 5):
        resumed = start(tmp_path / "stopped", monkeypatch, engine, configure(max_steps=last))
        assert (resumed.state.resume() is None) == (last == 2)
        resumed.train()
    assert resumed.progress == whole.progress
    assert same_bits(resumed.parameters(), whole.parameters())


@pytest.mark.parametrize("on_nan", ["skip", "rollback"])
def test_bad_batches_leave_both_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_nan: str) -> None:
    config = configure(max_steps=5, state_steps=2, on_nan=on_nan, lr=0.02)
    ours, theirs = (start(tmp_path, monkeypatch, engine, config, SpoiledLoader(3)) for engine in ("torch", "mxnet"))
    for run in (ours, theirs):
        run.train()
    assert ours.progress == theirs.progress
    assert all(tensor.isfinite().all() for tensor in theirs.parameters().values())
    assert_alike(ours.parameters(), theirs.parameters(), 2e-5)


def test_a_bad_batch_ends_the_run_before_the_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path, monkeypatch, "mxnet", configure(max_steps=5), SpoiledLoader(0))
    before = run.parameters()
    with pytest.raises(NonFiniteLossError, match="step 1: the loss is nan"):
        run.train()
    assert same_bits(before, run.parameters())
