"""Every entry of sample_config.py's `network` trains by the command: data in, a checkpoint that loads out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.support import REPOSITORY
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.graph import load_checkpoint
from mxface.recognition.config_file import read_config_file
from mxface.recognition.train import main

NETWORKS = read_config_file(REPOSITORY / "sample_config.py").namespace["network"]
QUICK = ("y1", "mnas025")
PARAMETERS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS]
SETTINGS = """
dataset.tiny.image_shape = (112, 112, 3)
dataset.tiny.val_targets = []
dataset.tiny.per_batch_size = 2
dataset.tiny.max_steps = 1
"""


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("data") / "tiny")


@pytest.mark.parametrize("network", PARAMETERS)
def test_trains(network: str, tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of two images: every weight moves, and all stays finite."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_tiny_config(tmp_path / "config.py", tiny_set, more=SETTINGS)
    choice = ["--network", network, "--dataset", "tiny", "--loss", "arcface"]
    assert main([*choice, "--threads", "1", "--lr", "0.001", "--ckpt", "2", "--verbose", "1"]) == 0
    earlier, checkpoint = (load_checkpoint(f"models/{network}-arcface-tiny/model", epoch) for epoch in (1, 2))
    assert checkpoint.symbol.list_outputs() == ["fc1_output"]
    arrays = {**checkpoint.arg_params, **checkpoint.aux_params}
    assert {*arrays, "data"} == {*checkpoint.symbol.list_arguments(), *checkpoint.symbol.list_auxiliary_states()}
    assert [name for name, array in arrays.items() if not np.isfinite(array).all()] == []
    weights = {name: array for name, array in checkpoint.arg_params.items() if name.endswith("_weight")}
    assert [name for name, array in weights.items() if np.array_equal(array, earlier.arg_params[name])] == []
    shutil.rmtree("models")  # half a gigabyte and more of each large network
