"""Ranks that would not train and verify the same are refused before the first batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.support.ranks import run_threads
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.errors import ConfigError
from mxface.eval.protocol import PairSet, load_pair_set
from mxface.ranks import Ranks
from mxface.recognition.arguments import parse_arguments
from mxface.recognition.training import require_same_start


def test_a_verification_set_that_one_rank_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification is work of all ranks together: the others would wait for its share for ever."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    data = write_tiny_set(tmp_path / "tiny")
    write_tiny_config(tmp_path / "config.py", data)
    flags = ["--config", str(tmp_path / "config.py"), "--network", "tiny", "--dataset", "tiny"]
    run = parse_arguments(flags, description="").run
    pairs = load_pair_set(data / "tiny.bin", (56, 56))

    def say(ranks: Ranks, of_second: tuple[PairSet, ...]) -> str | None:
        learner = SimpleNamespace(tensors=lambda: {"backbone/w": torch.ones(2)})
        own = of_second if ranks.rank == 1 else (pairs,)
        try:
            inputs = SimpleNamespace(num_classes=3, dataset=SimpleNamespace(keys=np.arange(3)), pair_sets=own)
            require_same_start(run, ranks, learner, inputs, place=0)  # type: ignore[arg-type]
        except ConfigError as error:
            return str(error)
        return None

    assert run_threads(say, 2, (pairs,)) == [None, None]
    accounts = run_threads(say, 2, ())
    assert accounts[0] == accounts[1]
    assert str(accounts[0]).startswith("rank 1 differs from rank 0 in its verification sets: every rank needs")
