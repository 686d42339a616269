"""Our packer writes 2019's record files byte for byte, and our data set reads them (oracle/runs/rec)."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mxface.data.face2rec2 import main as face2rec2
from mxface.data.lfw2pack import main as lfw2pack
from mxface.formats.lfw_pairs import read_pairs
from mxface.loaders import RecordDataset
from mxface.loaders.decode import decode_image


@pytest.fixture(scope="module")
def rec(oracle: Path) -> Path:
    return oracle / "runs" / "rec"


def packed_folders(rec: Path) -> list[Path]:
    """The folders of `rec` that hold a list and its records; none would be a broken oracle."""
    folders = [path.parent for path in sorted(rec.rglob("*.lst")) if path.with_suffix(".rec").exists()]
    assert folders
    return folders


@pytest.mark.parametrize("threads", [1, 3])
def test_packs_the_same_bytes(
    rec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], threads: int
) -> None:
    """Aligned files are copied; unaligned ones are warped and encoded anew (their JPEG bytes need OpenCV >= 4.10)."""
    shutil.copytree(rec, tmp_path / "rec", copy_function=shutil.copyfile)
    monkeypatch.chdir(tmp_path / "rec")
    for folder in packed_folders(rec):
        ours = tmp_path / "rec" / folder.relative_to(rec)
        for extension in (".rec", ".idx"):
            (ours / "train").with_suffix(extension).unlink()
        assert face2rec2([str(ours), "--num-thread", str(threads)]) == 0, capsys.readouterr().err
        assert f"Creating .rec file from {ours / 'train.lst'} in {ours}" in capsys.readouterr().out
        for extension in (".rec", ".idx"):
            packed, expected = (path.joinpath("train").with_suffix(extension) for path in (ours, folder))
            assert packed.read_bytes() == expected.read_bytes(), expected


def test_reads_the_facts(rec: Path) -> None:
    for folder in packed_folders(rec):
        facts = {fact["key"]: fact for fact in json.loads((folder / "train_records.json").read_text())}
        dataset = RecordDataset(folder / "train.rec")
        first_identity, end = facts[0]["label"]
        images = [facts[key] for key in sorted(facts) if 0 < key < first_identity]
        ranges = [facts[key]["label"] for key in range(int(first_identity), int(end))]
        assert dataset.keys.tolist() == [fact["key"] for fact in images]
        assert dataset.labels.tolist() == [fact["label"][0] for fact in images]
        assert dataset.identity_ranges is not None
        assert dataset.identity_ranges.tolist() == ranges
        for number, fact in enumerate(images):
            assert hashlib.md5(dataset.read_encoded(number)).hexdigest() == fact["md5"]


def test_decodes_the_stored_pixels(rec: Path) -> None:
    stored = cv2.imread(str(rec / "unaligned" / "rec1_decoded.png"))
    assert stored is not None
    decoded = decode_image(RecordDataset(rec / "unaligned" / "train.rec").read_encoded(0))
    assert np.array_equal(decoded, stored[:, :, ::-1])


def test_lfw2pack_writes_the_same_bytes(oracle: Path, assets: Path, tmp_path: Path) -> None:
    """The 60 pairs that 2019's tool packed, from the aligned LFW images."""
    folder = oracle / "runs" / "bin"
    with tarfile.open(assets / "lfw" / "lfw-112x112.tar.gz") as archive:
        names = {name for pair in read_pairs(folder / "pairs.txt") for name, _ in pair}
        members = [member for member in archive if member.isfile() and member.name.split("/")[-2] in names]
        archive.extractall(tmp_path, members, filter="data")
    (root,) = tmp_path.iterdir()
    output = tmp_path / "lfw60.bin"
    assert lfw2pack(["--data-dir", str(root), "--pairs", str(folder / "pairs.txt"), "--output", str(output)]) == 0
    assert output.read_bytes() == (folder / "lfw60_py3.bin").read_bytes()
