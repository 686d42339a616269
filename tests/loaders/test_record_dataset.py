"""Both layouts, filtered and hostile."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records import face_image, pack_people, pack_plain

from mxface.errors import DataError, FormatError
from mxface.formats.recordio import MAGIC, IndexedRecordWriter, IRHeader, pack
from mxface.loaders.record_dataset import RecordDataset, expand_ranges


def write_records(path: Path, records: Sequence[tuple[int, float | np.ndarray, bytes]]) -> Path:
    with IndexedRecordWriter(path) as writer:
        for key, label, body in records:
            writer.write(key, pack(IRHeader(0, label, key, 0), body))
    return path


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_face_layout(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_people(tmp_path / "train.rec", [3, 1, 2]))
    assert dataset.keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert dataset.labels.tolist() == [0, 0, 0, 1, 2, 2]
    assert dataset.identity_ranges is not None
    assert dataset.identity_ranges.tolist() == [[1, 4], [4, 5], [5, 7]]
    assert (dataset.num_images, len(dataset), dataset.num_identities) == (6, 6, 3)
    assert bytes(dataset.read_encoded(3)) == face_image(4)
    assert dataset.describe() == ["header0 label [ 7. 10.]", "id2range 3", "6"]


def test_images_filter_leaves_labels_as_they_are(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_people(tmp_path / "train.rec", [3, 1, 2]), images_filter=2)
    assert dataset.keys.tolist() == [1, 2, 3, 5, 6]
    assert dataset.labels.tolist() == [0, 0, 0, 2, 2]
    assert dataset.num_identities == 3
    with pytest.raises(DataError, match="no identity has 4 or more images; lower data_images_filter"):
        RecordDataset(tmp_path / "train.rec", images_filter=4)


@pytest.mark.parametrize("first_key", [0, 1, 17])
def test_plain_layout(tmp_path: Path, first_key: int) -> None:
    dataset = RecordDataset(pack_plain(tmp_path / "plain.rec", [4.0, 4.0, 9.0], first_key))
    assert dataset.keys.tolist() == [first_key, first_key + 1, first_key + 2]
    assert dataset.labels.tolist() == [4, 4, 9]
    assert dataset.num_identities == 2
    assert dataset.identity_ranges is None
    assert dataset.describe() == ["3"]


def test_plain_layout_with_several_labels_is_not_taken_for_faces(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_plain(tmp_path / "plain.rec", [floats(7, 1), floats(8, 0)]))
    assert dataset.labels.tolist() == [7, 8]


def test_filter_of_a_plain_layout_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        RecordDataset(pack_plain(tmp_path / "plain.rec", [0.0, 1.0]), images_filter=2)
    assert "images_filter 2 has no effect" in caplog.text


def test_keys_in_any_order(tmp_path: Path) -> None:
    """The .idx of other packers puts key 0 first; the last line of a key counts."""
    images = [(key, floats(key // 2, 1), face_image(key)) for key in (2, 3, 1)]
    layout = [(0, floats(4, 6), b""), (5, floats(2, 4), b""), (4, floats(1, 2), b"")]
    dataset = RecordDataset(write_records(tmp_path / "a.rec", [(2, 99.0, b"old"), *layout, *images]))
    assert dataset.keys.tolist() == [1, 2, 3]
    assert [bytes(dataset.read_encoded(number)) for number in range(3)] == [face_image(key) for key in (1, 2, 3)]


def test_can_be_pickled(tmp_path: Path) -> None:
    dataset = pickle.loads(pickle.dumps(RecordDataset(pack_people(tmp_path / "train.rec", [2, 2]))))
    assert dataset.labels.tolist() == [0, 0, 1, 1]


LAYOUTS = {
    "range backwards": [(0, floats(5, 2), b"")],
    "range of nothing": [(0, floats(0, 0), b"")],
    "range not finite": [(0, floats(2, np.inf), b"")],
    "three labels": [(0, floats(2, 3, 4), b"")],
    "more identities than records": [(0, floats(2, 2e9), b"")],
    "identity key missing": [(0, floats(2, 3), b""), (1, 0.0, b"x")],
    "identity without a range": [(0, floats(2, 3), b""), (1, 0.0, b"x"), (2, 5.0, b"")],
    "images beyond the records": [(0, floats(2, 3), b""), (1, 0.0, b"x"), (2, floats(1, 1e9), b"")],
    "images backwards": [(0, floats(2, 3), b""), (1, 0.0, b"x"), (2, floats(2, 1), b"")],
    "images not finite": [(0, floats(2, 3), b""), (1, 0.0, b"x"), (2, floats(1, np.nan), b"")],
    "image key missing": [(0, floats(2, 3), b""), (7, 0.0, b"x"), (2, floats(1, 2), b"")],
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_wrong_layout_is_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(FormatError, match=r"bad\.rec: found .*expected .*face2rec2"):
        RecordDataset(write_records(tmp_path / "bad.rec", LAYOUTS[case]))


def test_no_records_and_no_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no records"):
        RecordDataset(write_records(tmp_path / "empty.rec", []))
    pack_people(tmp_path / "train.rec", [2]).with_suffix(".idx").unlink()
    with pytest.raises(FormatError, match=r"train\.idx"):
        RecordDataset(tmp_path / "train.rec")


@pytest.mark.parametrize("label", [np.nan, np.inf, -1e30])
def test_a_label_that_is_no_class_is_refused(tmp_path: Path, label: float) -> None:
    dataset = RecordDataset(pack_plain(tmp_path / "plain.rec", [label, 1.0]))
    with pytest.raises(FormatError, match=r"byte 0: found label .*, expected the number of a class"):
        dataset.read(0)


def test_images_per_identity_and_label_range(tmp_path: Path) -> None:
    path = pack_people(tmp_path / "train.rec", [3, 1, 2, 2])
    dataset = RecordDataset(path)
    assert (dataset.images_per_identity().tolist(), dataset.label_range()) == ([3, 1, 2, 2], (0, 3))
    filtered = RecordDataset(path, images_filter=2)
    assert (filtered.images_per_identity().tolist(), filtered.label_range()) == ([3, 0, 2, 2], (0, 3))
    plain = RecordDataset(pack_plain(tmp_path / "plain.rec", [4.0, 9.0, 4.0, floats(-2, 7)]))
    assert (plain.images_per_identity().tolist(), plain.label_range()) == ([1, 2, 1], (-2, 9))


def test_label_range_reads_one_record_an_identity_and_passes_over_damage(tmp_path: Path) -> None:
    path = pack_people(tmp_path / "train.rec", [3, 1, 2])
    offsets = RecordDataset(path).images.offsets.tolist()
    data = bytearray(path.read_bytes())
    data[offsets[0]] ^= 255
    path.write_bytes(data)
    assert RecordDataset(path).label_range() == (1, 2)
    with pytest.raises(FormatError, match="magic"):
        _ = RecordDataset(path).labels
    for offset in (offsets[3], offsets[4]):
        data[offset] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match="the records of all 3 identities are damaged"):
        RecordDataset(path).label_range()


def test_labels_are_those_of_the_records_one_by_one(tmp_path: Path) -> None:
    """Read at once where they stand as usual, one by one where a record is in parts."""
    magic = np.frombuffer(MAGIC.to_bytes(4, "little"), np.float32)[0]
    labels = [floats(3, 1), 5.0, floats(7), floats(6, magic, 2), 2.0**24 + 2]
    dataset = RecordDataset(pack_plain(tmp_path / "plain.rec", labels))
    expected = [dataset.read(number)[0] for number in range(len(labels))]
    assert dataset.labels.tolist() == expected == [3, 5, 7, 6, 2**24 + 2]


def test_images_have_names(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_people(tmp_path / "train.rec", [3, 1, 2]), images_filter=2)
    assert [dataset.name(number) for number in (2, 3)] == ["key 3 of identity 0", "key 5 of identity 2"]
    assert RecordDataset(pack_plain(tmp_path / "plain.rec", [0.0, 0.0], 7)).name(1) == "key 8"


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9)), max_size=20), st.integers(0, 5))
def test_expand_ranges(ranges: list[tuple[int, int]], min_count: int) -> None:
    array = np.array([(start, start + count) for start, count in ranges], np.int64).reshape(-1, 2)
    expected = [key for start, count in ranges if count >= min_count for key in range(start, start + count)]
    assert expand_ranges(array, min_count).tolist() == expected
