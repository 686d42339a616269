"""recognition/train.py as a user starts it: a run from data to checkpoint, and how a signal ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import REPOSITORY, run_door
from tests.support.processes import PATIENCE_S, wait_until
from tests.support.training import PEOPLE, write_tiny_config, write_tiny_set

from mxface.formats.checkpoint import list_epochs, params_path
from mxface.formats.params import read_params
from mxface.train.state import StateFolder

DOOR = "recognition/train.py"
CHOICE = ("--network", "tiny", "--dataset", "tiny", "--threads", "1")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with config.py and a data set."""
    folder = tmp_path_factory.mktemp("workplace")
    write_tiny_config(folder / "config.py", write_tiny_set(folder / "tiny"))
    return folder


@pytest.mark.parametrize("door", ["train", "train_parall", "train_softmax"])
def test_help_from_anywhere(tmp_path: Path, door: str) -> None:
    """It is all that is printed, also where there is no config.py; outside of a checkout not even the sample's."""
    result = run_door(f"recognition/{door}.py", "--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"{door}.py --network r100 --loss" in result.stdout
    assert "images of a batch, per rank (default: 128)" in result.stdout
    module = [sys.executable, "-m", f"mxface.recognition.{door}", "--help"]
    same = subprocess.run(module, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (same.returncode, same.stdout) == (0, result.stdout)

    installed = ["-c", f"from mxface.recognition.{door} import main; main()", "--help"]
    elsewhere = subprocess.run([sys.executable, *installed], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (elsewhere.returncode, elsewhere.stderr) == (0, "")
    assert "images of a batch, per rank\n" in elsewhere.stdout


def test_a_run_from_records_to_checkpoint(workplace: Path) -> None:
    write_tiny_config(workplace / "longer.py", workplace / "tiny", more="\ndataset.tiny.max_steps = 14\n")
    flags = ("--config", "longer.py", "--models-root", "run", "--lr", 0.05, "--verbose", 15)
    result = run_door(DOOR, *CHOICE, *flags, cwd=workplace)
    assert result.returncode == 0, result.stderr
    prefix = Path("run/tiny-arcface-tiny/model")
    lines = [
        "use cpu",
        f"prefix {prefix}",
        r"image_size \(56, 56\)",
        f"num_classes {PEOPLE}",
        r"Called with argument: Namespace\(.*\) \{.*\}",
        r"Network FLOPs: [\d.]+M",
        r"header0 label .*",
        f"id2range {PEOPLE}",
        "24",
        "rand_mirror True",
        "ver tiny",
        r"call reset\(\)",
        r"\[tiny\]\[15\]XNorm: [\d.]+",
        r"\[tiny\]\[15\]Accuracy-Flip: [01]\.\d{5}\+-0\.\d{5}",
        "saving 1",
        r"\[15\]Accuracy-Highest: [01]\.\d{5}",
    ]
    assert re.search(r"\n(?:.*\n)*?".join(lines), result.stdout), result.stdout
    losses = [
        float(value) for value in re.findall(r"^INFO:root:Epoch\[\d+\] Batch .*lossvalue=(\S+)$", result.stderr, re.M)
    ]
    assert losses[-1] < 0.5 * losses[0], losses
    assert list_epochs(workplace / prefix) == [1]
    names = set(read_params(params_path(workplace / prefix, 1)))
    assert {"arg:conv_1_conv2d_weight", "arg:pre_fc1_weight", "aux:fc1_moving_mean"} <= names


def signal_a_run(workplace: Path, models_root: str, number: signal.Signals) -> tuple[int, str]:
    """Start a run without an end and signal it once it has saved a state; exit status and output."""
    flags = ("--models-root", models_root, "--state-steps", "3", "--config", "endless.py")
    states = workplace / models_root / "tiny-arcface-tiny" / "state"
    output = workplace / f"{models_root}.log"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", str(REPOSITORY / DOOR), *CHOICE, *flags],
            cwd=workplace,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: process.poll() is not None or any(states.glob("step-*/.metadata")), "a state")
            assert process.poll() is None, output.read_text()
            process.send_signal(number)
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    return process.returncode, output.read_text()


@pytest.fixture(scope="module")
def endless(workplace: Path) -> None:
    """The same config without an end."""
    write_tiny_config(workplace / "endless.py", workplace / "tiny", more="\ndataset.tiny.max_steps = 0\n")


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(workplace: Path, number: signal.Signals) -> None:
    status, output = signal_a_run(workplace, number.name, number)
    assert status == 128 + number
    assert f"{number.name}: saving the training state after this batch" in output
    assert f"stopped by {number.name}; --resume goes on from here" in output
    assert "Traceback" not in output
    newest = StateFolder(workplace / number.name / "tiny-arcface-tiny" / "state").list_states()[-1]
    assert int(newest.name.removeprefix("step-")) >= 3
