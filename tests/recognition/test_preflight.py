"""The pre-flight of the command: what it says of a run, and what it refuses."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.faces import encoded_pairs
from tests.support.records import pack_people
from tests.support.training import PEOPLE, write_tiny_config, write_tiny_set

from mxface.eval.protocol import load_pair_set
from mxface.formats.evalset import write_evalset
from mxface.loaders import RecordDataset
from mxface.ranks import Ranks
from mxface.recognition.arguments import parse_arguments
from mxface.recognition.inputs import load_pair_sets
from mxface.recognition.preflight import loaded_bytes
from mxface.recognition.session import say_nothing
from mxface.recognition.train import main


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("data") / "tiny")


def run(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str], *flags: object, status: int = 0, more: str = ""
) -> str:
    write_tiny_config(folder / "config.py", data, more=f"\ndataset.tiny.max_steps = 1\n{more}")
    choice = ["--network", "tiny", "--dataset", "tiny", "--threads", "1", "--device", "cpu"]
    assert main([*choice, *map(str, flags)]) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_run_begins_with_the_table_and_ends_with_its_memory(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(tmp_path, tiny_set, capsys)
    table = output[output.index("pre-flight") : output.index("call reset()")]
    names = ["device", "network", "memory", "images", "rate", "epochs", "first"]
    assert re.findall(r"^  (\w+)", table, re.MULTILINE) == names
    assert f" of {PEOPLE} identities" in table
    assert re.search(r"^memory per rank: predicted \d+\.\d\d GB, peak \d+\.\d\d GB$", output, re.MULTILINE)


def test_the_first_loss_is_foretold_for_what_is_trained(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = [run(tmp_path, tiny_set, capsys, "--loss", "arcface", *more) for more in ((), ("--margin-warmup", 50))]
    whole, growing = (float(re.findall(r"first loss about ([\d.]+)", output)[0]) for output in outputs)
    assert whole > growing + 10
    for output in outputs:
        assert "was expected of an untrained network" not in output
    resumed = run(tmp_path, tiny_set, capsys, "--loss", "arcface", "--resume")
    assert "first loss not foretold: the run goes on from batch 2" in resumed


def test_a_loss_that_a_warmup_lets_grow_is_no_alarm(
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The margin of arcface comes within 12 batches, and nothing else changes: the rate is next to none."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    flags = ("--loss", "arcface", "--margin-warmup", 12, "--lr", "1e-9", "--frequent", 1)
    run(tmp_path, tiny_set, capsys, *flags, more="dataset.tiny.max_steps = 20\n")
    losses = [float(loss) for loss in re.findall(r"lossvalue=([\d.]+)", caplog.text)]
    assert losses[-1] > 2.5 * losses[0]
    assert "the loss has grown" not in caplog.text


@pytest.mark.parametrize("loss", ["inter", "centre", "adaface"])
def test_the_first_loss_of_the_other_losses_is_foretold(
    loss: str, tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(tmp_path, tiny_set, capsys, "--loss", loss)
    assert re.search(r"first loss about \d", output)
    assert "was expected of an untrained network" not in output


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--loss", "triplet", "--per-batch-size", 6), "triplets are mined, by the network itself and"),
        (("--network", "open", "--loss", "softmax"), "softmax depends on how long embeddings are, and this network"),
    ],
)
def test_where_no_first_loss_is_foretold_the_reason_is_said(
    flags: tuple[object, ...],
    reason: str,
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    more = """
network.open = edict(network.tiny)
network.open.net_output = "F"
loss.triplet.images_per_identity = 3
loss.triplet.triplet_bag_size = 12
"""
    assert f"first loss not foretold: {reason}" in run(tmp_path, tiny_set, capsys, *flags, more=more)


def test_labels_without_a_class_stop_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "tiny"
    data.mkdir()
    pack_people(data / "train.rec", [4] * 5)
    (data / "property").write_text("3,112,112")
    output = run(tmp_path, data, capsys, "--per-batch-size", 8, status=1)
    assert "labels from 0 to 4, but num_classes is 3" in output
    assert "call reset()" not in output


def test_too_few_pairs_for_the_folds_stop_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_tiny_set(tmp_path / "tiny")
    files, issame = encoded_pairs(9)
    write_evalset(data / "tiny.bin", files, np.array(issame))
    output = run(tmp_path, data, capsys, status=1)
    assert "tiny.bin: 9 pairs cannot be split into 10 folds; pack more of them, or leave tiny out" in output
    assert "call reset()" not in output


def test_a_rank_has_its_share_of_the_verification_pictures_and_foresees_no_more(tiny_set: Path, tmp_path: Path) -> None:
    write_tiny_config(tmp_path / "config.py", tiny_set)
    choice = ["--config", str(tmp_path / "config.py"), "--network", "tiny", "--dataset", "tiny", "--device", "cpu"]
    config = parse_arguments(choice, description="").run
    dataset = RecordDataset(tiny_set / "train.rec")
    held, foreseen = [], []
    for rank in range(4):
        session = SimpleNamespace(ranks=Ranks(rank, 4), say=say_nothing)
        inputs = SimpleNamespace(dataset=dataset, pair_sets=load_pair_sets(config.data, session))  # type: ignore[arg-type]
        held += [pairs.images for pairs in inputs.pair_sets]
        foreseen.append(loaded_bytes(config, session, inputs))  # type: ignore[arg-type]
    whole = load_pair_set(tiny_set / "tiny.bin", (56, 56))
    assert np.array_equal(np.concatenate(held), whole.images)
    assert [size - foreseen[0] for size in foreseen] == [images.nbytes - held[0].nbytes for images in held]
    assert held[0].nbytes > held[3].nbytes


def test_a_margin_warmup_without_a_margin_is_said(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(tmp_path, tiny_set, capsys, "--loss", "softmax", "--margin-warmup", 5)
    assert output.count("--margin-warmup 5 has no effect: loss_name softmax has no margin") == 1
