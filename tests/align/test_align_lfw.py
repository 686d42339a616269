"""Folders aligned by networks of constant opinions, so that every result can be worked out."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.faces import photograph
from tests.support.mtcnn_files import landmark_in, save_constant_mtcnn

from mxface.align.align_lfw import main
from mxface.align.geometry import preprocess
from mxface.formats.lst import read_list

SIZE = (60, 50)  # height, width


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ann has two photographs, Bob one and a text; beside them lies LFW's pairs.txt."""
    root = tmp_path_factory.mktemp("people")
    for person, name, number in (("Ann", "Ann_0001.png", 1), ("Ann", "Ann_0002.png", 2), ("Bob", "Bob_0001.png", 3)):
        (root / person).mkdir(exist_ok=True)
        cv2.imwrite(str(root / person / name), photograph(number, size=SIZE))
    (root / "Bob" / "notes.txt").write_text("no picture")
    (root / "pairs.txt").write_text("1\t1\n")
    return root


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("mtcnn")
    return {
        "all": save_constant_mtcnn(root / "all"),
        "cropped": save_constant_mtcnn(root / "cropped", everywhere=False),
        "none": save_constant_mtcnn(root / "none", everywhere=False, never=True),
    }


def align(people: Path, output: Path, networks: Path, *flags: object) -> int:
    common = ["--input-dir", people, "--output-dir", output, "--mtcnn-path", networks, "--gpu", -1, "--threads", 1]
    return main([str(word) for word in (*common, *flags)])


def aligned_pictures(output: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted(output.glob("*/*.png"))]


def test_faces_are_aligned_and_listed(
    people: Path, networks: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # one scale, and PNet's cells so alike that suppression leaves few
    assert align(people, tmp_path, networks["all"], "--minsize", 40, "--factor", 0.1) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["dataset size 4", "Creating networks and loading parameters"]
    assert f"{people / 'Bob' / 'notes.txt'}: not an image that OpenCV can read (10 bytes)" in printed
    assert "3 × face found" in printed
    assert "1 × skipped: not an image" in printed
    assert printed[-1] == f"list: {tmp_path / 'lst'}"
    items = list(read_list(tmp_path / "lst"))
    names = ["Ann/Ann_0001.png", "Ann/Ann_0002.png", "Bob/Bob_0001.png"]
    assert [(item.aligned, item.path, item.label) for item in items] == [
        (True, str(tmp_path / name), label) for name, label in zip(names, (0, 0, 1), strict=True)
    ]
    assert all(picture.shape == (112, 112, 3) for picture in aligned_pictures(tmp_path))


def test_images_without_a_face_are_cropped_as_in_2019(
    people: Path, networks: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for force in (0, 1):
        assert align(people, tmp_path, networks["none"], "--image-size", "112,96", "--force", force) == 0
        assert "3 × no face: centre crop" in capsys.readouterr().out
        originals = [cv2.imread(str(path)) for path in sorted(people.glob("*/*.png"))]
        for picture, original in zip(aligned_pictures(tmp_path), originals, strict=True):
            np.testing.assert_array_equal(picture, preprocess(original, image_size="112,96"))


def test_force_takes_the_image_as_one_face(
    people: Path, networks: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align(people, tmp_path, networks["cropped"]) == 0
    assert "3 × no face: centre crop" in capsys.readouterr().out
    assert align(people, tmp_path, networks["cropped"], "--force", 1) == 0
    assert "3 × no face at first: taken as one loosely cropped face" in capsys.readouterr().out
    original = cv2.imread(str(people / "Ann" / "Ann_0001.png"))
    expected = preprocess(original, None, landmark_in(0, 0, 49, 59))
    assert np.abs(aligned_pictures(tmp_path)[0].astype(int) - expected).mean() < 0.01


def test_threads_change_nothing(people: Path, networks: dict[str, Path], tmp_path: Path) -> None:
    for threads in (1, 3):
        flags = ["--minsize", 40, "--factor", 0.1, "--threads", threads]
        assert align(people, tmp_path / str(threads), networks["all"], *flags) == 0
    for one, three in zip(aligned_pictures(tmp_path / "1"), aligned_pictures(tmp_path / "3"), strict=True):
        np.testing.assert_array_equal(one, three)


def test_every_hundred_images_a_line_counts(
    networks: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "Ann").mkdir(parents=True)
    for number in range(101):
        cv2.imwrite(str(tmp_path / "in" / "Ann" / f"{number:03d}.png"), photograph(number, size=(24, 24)))
    assert align(tmp_path / "in", tmp_path / "out", networks["none"]) == 0
    assert re.findall("Processing.*", capsys.readouterr().out) == ["Processing 100, ([  0 100   0   0   0])"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image-size", "96,96"], "give 112,112 or 112,96"),
        (["--threshold", "0.6,0.7"], "--threshold 0.6,0.7: give three numbers"),
        (["--threads", -1], "--threads -1"),
        (["--factor", 1], "factor 1.0"),
        (["--minsize", 0], "minsize 0"),
        (["--mtcnn-path", "nowhere"], "no MTCNN networks (det1-symbol.json …) in nowhere"),
        (["--input-dir", "nowhere"], "nowhere is no folder"),
    ],
)
def test_what_cannot_work_is_said(
    people: Path,
    networks: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[object],
    message: str,
) -> None:
    assert align(people, tmp_path / "out", networks["all"], *flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_without_images_are_an_error(
    networks: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert align(tmp_path / "in", tmp_path / "out", networks["all"]) == 1
    assert "holds no image; its layout must be PERSON/IMAGE" in capsys.readouterr().err
    (tmp_path / "in" / "Ann").mkdir()
    (tmp_path / "in" / "Ann" / "a.jpg").write_text("no picture")
    assert align(tmp_path / "in", tmp_path / "out", networks["all"]) == 1
    assert "none of the 1 files" in capsys.readouterr().err


def test_the_photographs_are_never_overwritten(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (people / "Ann" / "Ann_0001.png").read_bytes()
    assert main(["--input-dir", str(people), "--output-dir", str(people / "Ann" / "..")]) == 1
    assert "the photographs would be overwritten" in capsys.readouterr().err
    assert (people / "Ann" / "Ann_0001.png").read_bytes() == before
