"""Records by number: whole, in parts, damaged, cut, unreadable."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records import face_image, pack_plain

from mxface.errors import DataError, FormatError
from mxface.formats.recordio import MAGIC, IndexedRecordReader, IndexedRecordWriter, IRHeader, pack
from mxface.loaders import encoded_images
from mxface.loaders.encoded_images import EncodedImages, record_ends
from mxface.loaders.record_dataset import read_labels

BODIES = [b"first", MAGIC.to_bytes(4, "little") * 3 + b"parts", b"", b"last" * 40]


def open_images(path: Path) -> EncodedImages:
    with IndexedRecordReader(path) as reader:
        return EncodedImages(path, reader.offsets, record_ends(reader.offsets, reader.records.size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with IndexedRecordWriter(tmp_path / "x.rec") as writer:
        for key, body in enumerate(BODIES):
            writer.write(key, pack(IRHeader(0, 10.0 + key, key, 0), body))
    return tmp_path / "x.rec"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file and its bytes."""
    labels = [1.0, np.array([2, 1], np.float32), 3.0, np.array([4, 1], np.float32)]
    path = tmp_path_factory.mktemp("records") / "x.rec"
    with IndexedRecordWriter(path) as writer:
        for key, label in enumerate(labels):
            writer.write(key, pack(IRHeader(0, label, key, 0), b"body"))
    return path, path.read_bytes()


def everything(images: EncodedImages) -> list[tuple[int, bytes]]:
    return [(label, bytes(body)) for label, body in map(images.read, range(len(images)))]


def test_reads_what_was_written_also_in_parts_and_after_pickling(path: Path) -> None:
    expected = [(10 + key, body) for key, body in enumerate(BODIES)]
    images = open_images(path)
    assert everything(images) == expected
    assert everything(pickle.loads(pickle.dumps(images))) == expected


def test_an_index_that_leaves_records_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_images, "LARGEST_READ", 8)
    assert everything(open_images(path)) == [(10 + key, body) for key, body in enumerate(BODIES)]


def test_a_deleted_file_stays_readable(path: Path) -> None:
    images = open_images(path)
    path.unlink()
    assert images.read(0) == (10, b"first")
    with pytest.raises(DataError, match=r"x\.rec: cannot be read any more, at byte .*: No such file"):
        images.read(1)  # in parts: the file is opened anew


def test_a_file_cut_short_is_an_error_about_the_file(path: Path) -> None:
    images = open_images(path)
    os.truncate(path, 40)
    assert images.read(0) == (10, b"first")
    with pytest.raises(DataError, match=r"x\.rec: was cut short while it was read: it has 40 bytes now; put the"):
        images.read(3)


def test_a_failing_disk_is_an_error_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(116, "Stale file handle")

    images = open_images(path)
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(DataError, match=r"x\.rec: cannot be read any more, at byte 0: Stale file handle; see to"):
        images.read(0)


@pytest.mark.parametrize("position", [0, 7, 9, 11])
def test_damaged_heads_are_format_errors(tmp_path: Path, position: int) -> None:
    """In turn the magic, the length, the number of labels and the label (not a number)."""
    path = pack_plain(tmp_path / "x.rec", [1.0, 2.0])
    data = bytearray(path.read_bytes())
    data[position : position + 5] = b"\xff" * 5 if position != 11 else b"\x00\xff\xff\xff\xff"
    path.write_bytes(data)
    images = open_images(path)
    with pytest.raises(FormatError, match=r"x\.rec"):
        images.read(0)
    assert images.read(1) == (2, face_image(1))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_is_a_format_error(sound: tuple[Path, bytes], changes: list[tuple[int, int]]) -> None:
    path, data = sound
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(data)] = value
    path.write_bytes(damaged)
    images = open_images(path)
    for number in range(len(images)):
        with contextlib.suppress(FormatError):
            images.read(number)
    labels, intact = read_labels(path, images.offsets)
    for number in np.flatnonzero(intact):
        assert images.read(int(number))[0] == int(labels[number])
    images.close()


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20), st.integers(0, 50))
def test_record_ends(starts: list[int], rest: int) -> None:
    size = max(starts) + rest
    ends = record_ends(np.array(starts), size)
    assert ends.tolist() == [
        min((other for other in [*starts, size] if other > start), default=size) for start in starts
    ]
