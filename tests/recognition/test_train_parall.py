"""The command recognition/train_parall.py in this process, on one rank: where it is not train.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.graph import load_checkpoint
from mxface.recognition import train, train_parall

Train = Callable[..., str]


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def run(tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """Run a command in an empty folder for 2 batches; `config` lines are appended to the config file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def run_command(
        *flags: object, config: str = "", status: int = 0, main: Callable[..., int] = train_parall.main
    ) -> str:
        write_tiny_config(tmp_path / "config.py", tiny_set, more=f"{config}\ndataset.tiny.max_steps = 1\n")
        choice = ["--network", "tiny", "--dataset", "tiny", "--threads", "1", "--verbose", "2", "--ckpt", "2"]
        assert main([*choice, *map(str, flags)]) == status
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run_command


def learned(loss: str = "arcface") -> np.ndarray:
    return load_checkpoint(Path(f"models/tiny-{loss}-tiny/model"), 1).arg_params["pre_fc1_weight"].copy()


def test_its_lines(run: Train, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        output = run("--frequent", 1)
    share = re.search(r"^\{fc7_acc\} 2 (\S+)$", output, re.MULTILINE)
    assert share and 0 <= float(share[1]) <= 1
    assert output.index("{fc7_acc} 2 ") < output.index("[2]Accuracy-Highest")
    assert "{fc7_acc} 1 " not in output
    lines = [record.getMessage() for record in caplog.records if record.name == "root"]
    assert re.fullmatch(r"Iter\[0\] Batch \[1\]\tSpeed: \S+ samples/sec", lines[0])
    assert not any("acc=" in line or "lossvalue" in line for line in lines)


def test_the_model_is_the_embedding_alone(run: Train, caplog: pytest.LogCaptureFixture) -> None:
    run("--loss", "softmax", config="config.ckpt_embedding = False")
    assert "ckpt_embedding False has no effect: models hold the embedding alone" in caplog.text
    checkpoint = load_checkpoint(Path("models/tiny-softmax-tiny/model"), 1)
    assert checkpoint.symbol.list_outputs() == ["fc1_output"]
    assert not any(name.startswith("fc7") for name in checkpoint.arg_params)


def test_whole_softmax_is_that_of_train(run: Train) -> None:
    two = ("--per-batch-size", 2)  # fewer rows than classes, so that a sample can leave some out
    run(*two)
    ours = learned()
    run(*two, main=train.main)
    assert np.array_equal(ours, learned())
    run(*two, "--sample-rate", 0.5)
    assert not np.array_equal(ours, learned())


def test_softmax_has_no_bias(run: Train) -> None:
    run("--loss", "softmax")
    ours = learned("softmax")
    run("--loss", "softmax", main=train.main, config="config.fc7_no_bias = True")
    assert np.array_equal(ours, learned("softmax"))


def test_negative_margins_count(run: Train, caplog: pytest.LogCaptureFixture) -> None:
    config = "loss.arcface.loss_m2 = -0.4\nloss.arcface.loss_m3 = -0.1"
    run(config=config)
    assert "negative values have no effect" not in caplog.text
    ours = learned()
    run(main=train.main, config=config)
    assert "negative values have no effect" in caplog.text
    assert not np.array_equal(ours, learned())


def test_a_pretrained_model_may_be_gone_on_from(run: Train) -> None:
    run()
    output = run("--pretrained", "models/tiny-arcface-tiny,1", "--models-root", "second")
    assert "\nloading models/tiny-arcface-tiny/model 1\n" in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--per-batch-size", 0), "batch size 128 is more than the 24 images"),
        (
            ("--worker-id", 1),
            "--worker-id 1, .*: 2019's way to many machines never worked; .* torchrun on each machine",
        ),
        (("--loss", "triplet"), "--loss triplet: triplet losses have no classes to split; train.py trains them"),
        (("--engine", "mxnet"), "--engine mxnet: classes are split by --engine torch alone"),
        (("--sample-rate", 0), "--sample-rate is 0.0: expected a share of the classes in (0, 1]".replace("(", r"\(")),
        (("--rank-timeout", 0), "--rank-timeout is 0.0: expected a number of seconds from 1 to 10000000"),
        (("--ranks", 0), "--ranks is 0: expected a number of processes from 1 to 1024"),
    ],
)
def test_what_cannot_work_ends_with_a_sentence(run: Train, flags: tuple[object, ...], message: str) -> None:
    output = run(*flags, status=1)
    assert re.search(f"error: .*{message}", output), output


def test_machines_of_2019_are_refused(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMLC_NUM_WORKER", "2")
    assert "num_workers (DMLC_NUM_WORKER) 2: 2019's way to many machines never worked" in run(status=1)
