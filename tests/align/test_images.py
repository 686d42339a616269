"""Pictures in and out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mxface.align.images import read_image, write_image
from mxface.errors import DataError

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


@pytest.mark.parametrize("name", ["a.png", "b.bmp", "c.PPM", "d.é t.png"])
def test_lossless_pictures_come_back(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, PICTURE)
    np.testing.assert_array_equal(read_image(tmp_path / name), PICTURE)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_grey_becomes_three_equal_channels_and_back(tmp_path: Path) -> None:
    grey = PICTURE[:, :, 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    picture = read_image(str(tmp_path / "grey.png"))
    np.testing.assert_array_equal(picture, np.stack([grey] * 3, axis=2))
    write_image(tmp_path / "grey.pgm", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "grey.pgm"), cv2.IMREAD_UNCHANGED), grey)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([PICTURE, np.full((12, 10), 7, np.uint8)]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.jpg: not an image .*\({len(content)} bytes\)"):
        read_image(path)


def test_a_missing_picture_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jpg: No such file"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(DataError, match="directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_an_extension_without_a_picture_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"use \.jpg or \.png"):
        write_image(tmp_path / name, PICTURE)
    assert not list(tmp_path.iterdir())
