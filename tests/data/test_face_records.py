"""The face layout as bytes on disk; 2019's own are in tests/oracle/test_rec.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mxface.data import face_records
from mxface.data.face_records import face_record_writer
from mxface.errors import DataError
from mxface.formats.recordio import IndexedRecordReader, unpack
from mxface.loaders import RecordDataset


def test_keys_labels_and_order_in_the_file(tmp_path: Path) -> None:
    with face_record_writer(tmp_path / "a.rec") as faces:
        for label in (7, 7, 3):
            faces.append(label, b"image")
        assert (faces.num_images, faces.num_identities, faces.max_label) == (3, 2, 7)
    reader = IndexedRecordReader(tmp_path / "a.rec")
    assert reader.keys.tolist() == [1, 2, 3, 0, 4, 5]
    headers = {int(key): unpack(reader.read(int(key))) for key in reader.keys}
    assert [headers[key][0].label for key in (1, 2, 3)] == [7.0, 7.0, 3.0]
    assert [np.asarray(headers[key][0].label).tolist() for key in (0, 4, 5)] == [[4, 6], [1, 3], [3, 4]]
    assert [bytes(headers[key][1]) for key in (1, 0, 4)] == [b"image", b"", b""]
    assert all(header.id == key and header.id2 == 0 for key, (header, _) in headers.items())


def test_aligned_is_the_second_label(tmp_path: Path) -> None:
    with face_record_writer(tmp_path / "a.rec") as faces:
        faces.append(0, b"image", aligned=True)
        faces.append(0, b"image", aligned=False)
    reader = IndexedRecordReader(tmp_path / "a.rec")
    labels = [np.asarray(unpack(reader.read(key))[0].label).tolist() for key in (1, 2)]
    assert labels == [[0, 1], [0, 0]]


def test_a_label_that_comes_back_is_another_identity(tmp_path: Path) -> None:
    with face_record_writer(tmp_path / "a.rec") as faces:
        for label in (0, 1, 0, 0, 1):
            faces.append(label, b"image")
        assert faces.repeated_labels == [0, 1]
    ranges = RecordDataset(tmp_path / "a.rec").identity_ranges
    assert ranges is not None
    assert ranges.tolist() == [[1, 2], [2, 3], [3, 5], [5, 6]]


def test_nothing_is_left_without_an_image_or_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to pack"), face_record_writer(tmp_path / "a.rec"):
        pass
    with pytest.raises(RuntimeError), face_record_writer(tmp_path / "a.rec") as faces:
        faces.append(0, b"image")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_keys_that_float32_cannot_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest number stored is N + 1 + K: 5 images and 2 identities need 8."""
    monkeypatch.setattr(face_records, "LARGEST_EXACT_KEY", 8)
    with face_record_writer(tmp_path / "a.rec") as faces:
        for label in (0, 0, 0, 1, 1):
            faces.append(label, b"image")
    with (
        pytest.raises(DataError, match="more than 8 records"),
        face_record_writer(tmp_path / "b.rec") as faces,
    ):
        for label in (0, 0, 0, 1, 1, 1):
            faces.append(label, b"image")
    assert face_records.LARGEST_EXACT_KEY == 8
    assert float(np.float32(2**24)) == 2**24
    assert float(np.float32(2**24 + 1)) != 2**24 + 1
