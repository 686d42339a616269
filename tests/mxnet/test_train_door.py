"""`train.py --engine mxnet` as a user runs it, and a training that is handed from engine to engine by its files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.mxnet.engines import assert_alike
from tests.support import run_door
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.eval.verification import main as verify
from mxface.formats.dataset_property import DatasetProperty, write_property
from mxface.formats.params import read_params
from mxface.recognition.train import main
from mxface.runtime import load_predictor, make_embedder

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SIDE = 56
PREFIX = Path("tiny-arcface-tiny/model")
TOLERANCE = 1e-3


class Runs(NamedTuple):
    """The folder; what the MXNet part of the crossed run said on stdout, on stderr; all figures of the whole run."""

    folder: Path
    stdout: str
    stderr: str

    @property
    def crossed(self) -> Path:
        return self.folder / "crossed" / PREFIX

    @property
    def whole(self) -> Path:
        return self.folder / "whole" / PREFIX


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Nine batches, verified and saved after every third: the middle three on MXNet, or all on torch.

    Without dropout, whose masks are each engine's own, and at a rate at which the slopes of PReLU hardly count.
    """
    folder = tmp_path_factory.mktemp("runs")
    data = write_tiny_set(folder / "tiny")

    def flags(models_root: str, last: int) -> list[str]:
        more = f"\nnetwork.tiny.net_output = 'FC'\ndataset.tiny.max_steps = {last - 1}\n"
        config = write_tiny_config(folder / f"to_{last}.py", data, more=more)
        choice = ["--network", "tiny", "--dataset", "tiny", "--config", str(config), "--threads", "1"]
        saving = ["--models-root", str(folder / models_root), "--ckpt", "2", "--verbose", "3", "--frequent", "1"]
        return [*choice, *saving, "--lr", "1e-5", "--device", "cpu"]

    assert main(flags("crossed", 3)) == 0
    middle = run_door("recognition/train.py", *flags("crossed", 6), "--resume", "--engine", "mxnet")
    assert middle.returncode == 0, middle.stderr
    assert main([*flags("crossed", 9), "--resume"]) == 0
    assert main(flags("whole", 9)) == 0
    return Runs(folder, middle.stdout, middle.stderr)


def test_the_lines_are_those_of_the_other_engine(runs: Runs) -> None:
    lines = [
        "use cpu",
        r"prefix .*/crossed/tiny-arcface-tiny/model",
        r"image_size \(56, 56\)",
        r"Network FLOPs: [\d.]+M",
        r"resumed from .*/state/step-00000003.*",
        r"call reset\(\)",
        r"\[tiny\]\[6\]XNorm: [\d.]+",
        r"\[tiny\]\[6\]Accuracy-Flip: [01]\.\d{5}\+-0\.\d{5}",
        "saving 2",
        r"\[6\]Accuracy-Highest: [01]\.\d{5}",
    ]
    assert re.search(r"\n(?:.*\n)*?".join(lines), runs.stdout), runs.stdout
    assert re.search(r"^INFO:root:Epoch\[1\] Batch \[.*\tacc=\S+\tlossvalue=\d+\.\d+$", runs.stderr, re.MULTILINE)


def test_a_run_is_foretold(runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # --threads changes both, for MXNet's import
    monkeypatch.setenv("MXNET_OMP_MAX_THREADS", "1")
    config = runs.folder / "once.py"
    write_tiny_config(config, runs.folder / "tiny", more="\ndataset.tiny.max_steps = 1\n")
    choice = ["--network", "tiny", "--dataset", "tiny", "--loss", "arcface", "--config", str(config)]
    place = ["--models-root", str(runs.folder / "once"), "--threads", "1", "--device", "cpu", "--engine", "mxnet"]
    assert main([*choice, *place]) == 0
    output = capsys.readouterr()
    assert re.search(r"first loss about [1-9]", output.out)
    assert "was expected of an untrained network" not in output.err


def test_memory_is_foretold_within_a_fifth(tmp_path: Path) -> None:
    """Of a process of its own, whose memory is mostly MXNet's maps: y1 with 8 images, verified, too."""
    data = write_tiny_set(tmp_path / "tiny")
    more = "\ndataset.tiny.image_shape = (112, 112, 3)\ndataset.tiny.max_steps = 1\n"
    config = write_tiny_config(tmp_path / "config.py", data, more=more)
    choice = ["--network", "y1", "--dataset", "tiny", "--loss", "arcface", "--config", str(config), "--engine", "mxnet"]
    place = ["--models-root", str(tmp_path), "--per-batch-size", "8", "--threads", "1", "--device", "cpu"]
    finished = run_door("recognition/train.py", *choice, *place, "--verbose", "2")
    assert finished.returncode == 0, finished.stderr
    match = re.search(r"memory per rank: predicted ([\d.]+) GB, peak ([\d.]+) GB", finished.stdout)
    assert match, finished.stdout
    assert float(match[1]) == pytest.approx(float(match[2]), rel=0.2)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_crossed_training_is_the_whole_one(runs: Runs, number: int) -> None:
    """Number 1 is from before the crossing, 2 was written by MXNet, 3 by torch again."""
    crossed, whole = (read_params(f"{prefix}-{number:04d}.params") for prefix in (runs.crossed, runs.whole))
    if number == 1:
        assert all(np.array_equal(crossed[name], whole[name]) for name in whole)
    assert_alike(crossed, whole, TOLERANCE)


@pytest.mark.parametrize("loss", ["triplet", "atriplet"])
def test_triplets_are_mined_and_trained(
    runs: Runs, loss: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # --threads changes both, for MXNet's import
    monkeypatch.setenv("MXNET_OMP_MAX_THREADS", "1")
    settings = f"\nloss.{loss}.images_per_identity = 3\nloss.{loss}.triplet_bag_size = 12\n"
    config = write_tiny_config(runs.folder / f"{loss}.py", runs.folder / "tiny", more=settings)
    choice = ["--network", "tiny", "--dataset", "tiny", "--loss", loss, "--config", str(config), "--engine", "mxnet"]
    sizes = ["--per-batch-size", "6", "--verbose", "8", "--ckpt", "2", "--frequent", "1", "--threads", "1"]
    assert main([*choice, *sizes, "--models-root", str(runs.folder), "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert "first loss not foretold: triplets are mined" in output.out
    assert re.search(r"^found triplets [1-9]", output.out, re.MULTILINE)
    assert re.search(r"^\[8\]Accuracy-Highest", output.out, re.MULTILINE)
    params = read_params(runs.folder / f"tiny-{loss}-tiny" / "model-0001.params")
    assert all(np.isfinite(array).all() for array in params.values())


def test_what_mxnet_wrote_opens_everywhere(runs: Runs) -> None:
    import mxnet as mx

    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    embeddings = {
        engine: make_embedder(load_predictor(runs.crossed, 2, engine=engine, device="cpu"))(images)
        for engine in ("torch", "mxnet")
    }
    assert_alike({"": embeddings["torch"]}, {"": embeddings["mxnet"]}, 1e-4)
    symbol, args, aux = mx.model.load_checkpoint(str(runs.crossed), 2)
    assert symbol.list_outputs() == ["fc1_output"]
    assert set(symbol.list_arguments()) - set(args) == {"data"}
    assert set(symbol.list_auxiliary_states()) == set(aux)


def test_verification_says_the_same_on_both_engines(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs.folder / "pairs"
    folder.mkdir()
    shutil.copy(runs.folder / "tiny" / "tiny.bin", folder)
    write_property(folder, DatasetProperty(4, SIDE, SIDE))
    figures = {}
    for engine in ("torch", "mxnet"):
        flags = ["--data-dir", str(folder), "--target", "tiny", "--model", f"{runs.crossed},2", "--gpu", "-1"]
        assert verify([*flags, "--engine", engine]) == 0
        output = capsys.readouterr().out
        figures[engine] = re.findall(r"^\[tiny\](\S+): ([\d.]+)", output, re.MULTILINE)
    ours, theirs = figures["torch"], figures["mxnet"]
    assert [name for name, _ in ours] == ["XNorm", "Accuracy", "Accuracy-Flip"]
    assert ours[1:] == theirs[1:]
    assert float(ours[0][1]) == pytest.approx(float(theirs[0][1]), rel=1e-4)
