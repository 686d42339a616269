"""The training doors on several ranks as a user starts them: by themselves, and under torchrun."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support import REPOSITORY, run_door
from tests.support.processes import PATIENCE_S
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.formats.checkpoint import list_epochs, params_path
from mxface.formats.params import read_params

CHOICE = ("--network", "tiny", "--dataset", "tiny", "--per-batch-size", "4")
LINES = ("use cpu", "prefix ", "num_classes ", "Called with argument", "rand_mirror", "ver tiny", "[4]Accuracy-Highest")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with config.py and a data set."""
    folder = tmp_path_factory.mktemp("workplace")
    config = "\ndataset.tiny.max_steps = 3\nconfig.emb_sise = 3\n"
    write_tiny_config(folder / "config.py", write_tiny_set(folder / "tiny"), more=config)
    return folder


def require_said_once(output: str) -> None:
    """2019's lines once each, whatever the number of ranks; and warnings."""
    for line in LINES:
        assert output.count(f"\n{line}") + output.startswith(line) == 1, (line, output)
    assert output.count("unknown key 'emb_sise' is ignored") == 1, output


@pytest.fixture(scope="module")
def by_itself(workplace: Path) -> dict[str, np.ndarray]:
    """What `--ranks 2` saves."""
    result = run_door("recognition/train.py", *CHOICE, "--ranks", 2, "--models-root", "itself", cwd=workplace)
    assert result.returncode == 0, result.stderr
    require_said_once(result.stdout + result.stderr)
    # two ranks of 4 images: the epoch of 24 has 3 batches
    assert re.search(r"^INFO:root:Epoch\[0\] Batch \[0-2\]\tSpeed: \S+ samples/sec\tacc=", result.stderr, re.MULTILINE)
    return saved(workplace / "itself/tiny-arcface-tiny/model")


def saved(prefix: Path) -> dict[str, np.ndarray]:
    assert list_epochs(prefix) == [1]
    assert len(list((prefix.parent / "tensorboard").iterdir())) == 1
    assert len(list((prefix.parent / "state").glob("step-*"))) == 1
    return read_params(params_path(prefix, 1))


def test_torchrun_starts_the_same_run(workplace: Path, by_itself: dict[str, np.ndarray]) -> None:
    # of its own accord torchrun takes port 29500, which another one may have
    any_port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *any_port]
    result = subprocess.run(
        [*torchrun, str(REPOSITORY / "recognition/train.py"), *CHOICE, "--models-root", "torchrun"],
        cwd=workplace,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"},
        text=True,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    require_said_once(result.stdout + result.stderr)
    theirs = saved(workplace / "torchrun/tiny-arcface-tiny/model")
    assert theirs.keys() == by_itself.keys()
    assert [name for name in theirs if not np.array_equal(theirs[name], by_itself[name])] == []


def test_train_parall_on_sampled_classes(workplace: Path) -> None:
    flags = ("--ranks", 2, "--sample-rate", 0.5, "--models-root", "parall")
    result = run_door("recognition/train_parall.py", *CHOICE, *flags, cwd=workplace)
    assert result.returncode == 0, result.stderr
    output = result.stdout + result.stderr
    require_said_once(output)
    assert len(re.findall(r"^\{fc7_acc\} 4 [01]\.\d+$", output, re.MULTILINE)) == 1
    assert re.search(r"^INFO:root:Iter\[0\] Batch \[2\]\tSpeed: \S+ samples/sec$", output, re.MULTILINE)
    assert not any("fc7" in name for name in saved(workplace / "parall/tiny-arcface-tiny/model"))


@pytest.mark.parametrize(
    ("door", "words"),
    [
        (
            "recognition/train_parall.py",
            ("train_parall.py --network r100 --loss arcface --dataset emore", "--sample-rate"),
        ),
        (
            "recognition/train_softmax.py",
            ("train_softmax.py --network r100 --loss combined --dataset emore", "--lr-steps"),
        ),
    ],
)
def test_help(door: str, words: tuple[str, ...], tmp_path: Path) -> None:
    result = run_door(door, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(word in result.stdout for word in words)


def test_train_softmax_is_train(workplace: Path) -> None:
    result = run_door("recognition/train_softmax.py", *CHOICE, "--loss", "combined", cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert list_epochs(workplace / "models/tiny-combined-tiny/model") == [1]
