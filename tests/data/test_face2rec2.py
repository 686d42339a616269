"""The packer's flags and its ways around bad input; its bytes are held against 2019's in tests/oracle/test_rec.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.faces import photograph
from tests.support.records import face_image, write_people

from mxface.align.geometry import preprocess
from mxface.data import face2rec2
from mxface.formats.dataset_property import read_property
from mxface.formats.recordio import IndexedRecordReader, unpack
from mxface.loaders import RecordDataset
from mxface.loaders.decode import decode_image

LANDMARK = "10\t20\t100\t110\t40\t80\t61\t44\t79\t50\t51\t70\t90\t88"

Pack = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set's folder with a list of five aligned images of two people, relative to it."""
    write_people(tmp_path / "images", {"ann": 3, "bob": 2})
    images = sorted((tmp_path / "images").rglob("*.jpg"))
    lines = [f"1\t{path.relative_to(tmp_path)}\t{int(path.parent.name == 'bob')}\n" for path in images]
    (tmp_path / "train.lst").write_text("".join(lines))
    return tmp_path


def pack(folder: Path, *flags: str) -> int:
    return face2rec2.main([str(folder), *flags])


def append(folder: Path, *lines: str) -> None:
    with (folder / "train.lst").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_image_size_writes_the_property(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(folder, "--image-size", "112,96") == 0
    assert read_property(folder) == (2, 112, 96)
    out = capsys.readouterr().out
    assert "train.rec: 5 images of 2 identities" in out
    assert "property: 2,112,96" in out


def test_property_is_needed_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(folder) == 1
    assert "num_classes,height,width" in capsys.readouterr().err
    (folder / "property").write_text("9,112,112")
    assert pack(folder) == 0
    assert pack(folder, "--image-size", "112,112") == 0
    assert (folder / "property").read_text() == "9,112,112"
    assert pack(folder, "--image-size", "112,96") == 1
    assert "says 112,112" in capsys.readouterr().err


def test_too_few_classes_in_the_property_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "property").write_text("1,112,112")
    assert pack(folder) == 0
    assert "the labels make 2 classes" in caplog.text


def test_unusable_images_are_reported_and_keys_stay_dense(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images/ann/ann_0002.jpg").write_bytes(face_image(1)[:-500])
    (folder / "images/bob/bob_0001.jpg").write_bytes(b"")
    append(
        folder, "1\timages/nowhere.jpg\t1", "0\timages/ann/ann_0001.jpg\t2", "0\timages/ann/ann_0001.jpg\t2\t0\t0\t5\t5"
    )
    assert pack(folder, "--image-size", "112,112", "--num-thread", "3") == 0
    dataset = RecordDataset(folder / "train.rec")
    assert dataset.keys.tolist() == [1, 2, 3]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.read_encoded(1) == (folder / "images/ann/ann_0003.jpg").read_bytes()
    assert "skipped 5 lines of train.lst" in capsys.readouterr().out
    for reason in ("ann_0002.jpg: a damaged JPEG", "bob_0001.jpg: 0 bytes", "No such file", "has no landmarks"):
        assert reason in caplog.text


def test_nothing_usable_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in folder.iterdir())
    (folder / "train.lst").write_text("1\tnowhere.jpg\t0\n")
    assert pack(folder, "--image-size", "112,112") == 1
    (folder / "train.lst").write_text("")
    assert pack(folder, "--image-size", "112,112") == 1
    assert "nothing to pack: the list is empty" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_bad_line_stops_and_keeps_the_old_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(folder, "--image-size", "112,112") == 0
    before = {path: path.read_bytes() for path in (folder / "train.rec", folder / "train.idx")}
    append(folder, "1\tonly two fields")
    assert pack(folder) == 1
    assert "train.lst" in capsys.readouterr().err
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_label_that_comes_back_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    append(folder, "1\timages/ann/ann_0001.jpg\t0")
    assert pack(folder, "--image-size", "112,112") == 0
    assert "1 times a label of train.lst came back" in caplog.text
    assert RecordDataset(folder / "train.rec").num_identities == 3


def test_all_lists_of_a_prefix(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train_b.lst", "val.lst"):
        (folder / name).write_text("1\timages/bob/bob_0001.jpg\t4\n")
    assert face2rec2.main([str(folder / "tra"), "--image-size", "112,112"]) == 0
    assert sorted(path.name for path in folder.glob("*.rec")) == ["train.rec", "train_b.rec"]
    assert read_property(folder).num_classes == 5
    assert face2rec2.main([str(folder / "other")]) == 1
    assert "Did not find and list file with prefix" in capsys.readouterr().err


def test_paths_start_in_the_current_folder_first(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "images/ann").mkdir(parents=True)
    (here / "images/ann/ann_0001.jpg").write_bytes(face_image(77))
    monkeypatch.chdir(here)
    assert pack(folder, "--image-size", "112,112") == 0
    dataset = RecordDataset(folder / "train.rec")
    assert bytes(dataset.read_encoded(0)) == face_image(77)
    assert dataset.read_encoded(1) == (folder / "images/ann/ann_0002.jpg").read_bytes()


def unaligned_image(folder: Path, *flags: str) -> tuple[bytes, np.ndarray]:
    """The record that a photograph with landmarks becomes, and its labels."""
    (folder / "train.lst").write_text(f"0\tphoto.png\t6\t{LANDMARK}\n")
    (folder / "photo.png").write_bytes(face_image(3, (120, 130), ".png"))
    assert pack(folder, "--image-size", "112,112", *flags) == 0
    header, body = unpack(IndexedRecordReader(folder / "train.rec").read(1))
    return bytes(body), np.asarray(header.label)


def test_unaligned_images_are_warped_by_their_landmarks(tmp_path: Path) -> None:
    image, label = unaligned_image(tmp_path, "--encoding", ".png")
    landmark = np.array([[40, 50], [80, 51], [61, 70], [44, 90], [79, 88]])
    assert (decode_image(image) == preprocess(photograph(3, 1, (120, 130)), None, landmark, "112,112")).all()
    assert label.tolist() == [6, 0]


def test_quality_color_and_encoding(tmp_path: Path) -> None:
    sizes = {quality: len(unaligned_image(tmp_path, "--quality", quality)[0]) for quality in ("10", "95", "100")}
    assert sizes["10"] < sizes["95"] < sizes["100"]
    assert unaligned_image(tmp_path)[0] == unaligned_image(tmp_path, "--quality", "95")[0]
    grey = cv2.imdecode(np.frombuffer(unaligned_image(tmp_path, "--color", "0")[0], np.uint8), cv2.IMREAD_UNCHANGED)
    assert grey is not None
    assert grey.ndim == 2
    assert unaligned_image(tmp_path, "--encoding", ".png")[0].startswith(b"\x89PNG")


def test_a_line_of_the_progress_every_thousand(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(face2rec2, "LINES_PER_REPORT", 2)
    assert pack(folder, "--image-size", "112,112") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("time: ")]
    assert [line.split("  ")[1] for line in lines] == ["count: 2", "count: 4"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--list", "true"], "makes no lists; use dir2lst.py"),
        (["--num-thread", "0"], "--num-thread 0"),
        (["--quality", "101"], "--quality 101"),
    ],
)
def test_flags_that_cannot_work(
    folder: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(folder, "--image-size", "112,112", *flags) == 1
    assert message in capsys.readouterr().err


def test_list_false_is_false(folder: Path) -> None:
    """In 2019 any text was true, and then nothing was packed."""
    assert pack(folder, "--image-size", "112,112", "--list", "False") == 0
    assert (folder / "train.rec").exists()


@pytest.mark.parametrize("flag", face2rec2.UNUSED_FLAGS)
def test_leftover_flags_warn(folder: Path, flag: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert pack(folder, "--image-size", "112,112", f"--{flag}", "1") == 0
    assert f"--{flag} has no effect" in caplog.text
