from __future__ import annotations

import multiprocessing
import os
import pickle
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxface.errors import FormatError
from mxface.formats.record_header import unpack_first_label
from mxface.formats.record_index import read_index
from mxface.formats.recordio import (
    MAGIC,
    MAX_RECORD_BYTES,
    IndexedRecordReader,
    IndexedRecordWriter,
    IRHeader,
    RecordReader,
    RecordWriter,
    pack,
    rebuild_index,
    unpack,
)

MAGIC_BYTES = bytes.fromhex("0a23d7ce")
PIECES = st.lists(st.sampled_from([MAGIC_BYTES, b"\x0a", b"\x0a\x23", b"abcd", b"x", b"\0\0\0\0", b"0123456789"]))
PAYLOADS = st.lists(st.one_of(PIECES.map(b"".join), st.binary(max_size=40)), max_size=12)


def write_records(path: Path, payloads: list[bytes]) -> list[int]:
    with RecordWriter(path) as writer:
        return [writer.write(payload) for payload in payloads]


def part(kind: int, payload: bytes, length: int | None = None, magic: int = MAGIC) -> bytes:
    word = kind << 29 | (len(payload) if length is None else length)
    return struct.pack("<II", magic, word) + payload + bytes(-len(payload) % 4)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A .rec and .idx with keys 7, 0, 3, the last stored in parts."""
    with IndexedRecordWriter(tmp_path / "three.rec") as writer:
        for key, payload in zip((7, 0, 3), (b"seven", b"", b"thr." + MAGIC_BYTES + b"e"), strict=True):
            writer.write(key, payload)
    return tmp_path / "three.rec"


def test_literal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    assert write_records(path, [b"abcde", b"", b"1234" + MAGIC_BYTES + b"x"]) == [0, 16, 24]
    assert path.read_bytes() == bytes.fromhex(
        "0a23d7ce 05000000 6162636465 000000"  # whole record of 5 bytes and its padding
        "0a23d7ce 00000000"  # empty
        "0a23d7ce 04000020 31323334"  # first part, up to the magic
        "0a23d7ce 01000060 78 000000"  # last part, after it
    )


@given(PAYLOADS)
@settings(max_examples=200, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.rec"
    offsets = write_records(path, payloads)
    with RecordReader(path) as reader:
        assert [(offset, bytes(payload)) for offset, payload in reader.scan()] == list(
            zip(offsets, payloads, strict=True)
        )
        assert [bytes(reader.read_at(offset)) for offset in offsets] == payloads


def test_whole_records_are_views_of_the_map_and_outlive_close(three: Path) -> None:
    reader = RecordReader(three)
    payload = reader.read_at(0)
    reader.close()
    assert payload.readonly is False  # a private page of the map, not a copy: bytes objects are read-only
    assert bytes(payload) == b"seven"
    payload[0] = ord("S")
    assert b"Seven" not in three.read_bytes()


@pytest.mark.parametrize(
    ("content", "offset", "found"),
    [
        (part(0, b"abcd")[:6], 0, "a file of 6 bytes"),
        (part(0, b"abcd", magic=0), 0, "magic 0x0"),
        (part(0, b"abcd", length=5), 0, "a record of 16 bytes"),
        (part(0, b"abcd", length=MAX_RECORD_BYTES), 0, "a record of 536870920 bytes"),
        (part(0, b"abc")[:-1], 0, "a record of 12 bytes"),
        (part(3, b"abcd"), 0, "part 3"),
        (part(2, b"abcd"), 0, "part 2"),
        (part(4, b"abcd"), 0, "part 4"),
        (part(1, b"abcd"), 12, "a file of 12 bytes"),
        (part(1, b"abcd") + part(0, b"abcd"), 12, "the start of a record"),
        (part(1, b"abcd") + part(2, b"abcd") + part(1, b"abcd"), 24, "the start of a record"),
        (part(1, b"abcd") + part(3, b"abcd", length=9), 12, "a record of 20 bytes"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_bad_records(
    tmp_path: Path, refused: Callable[..., FormatError], content: bytes, offset: int, found: str
) -> None:
    path = tmp_path / "bad.rec"
    path.write_bytes(content)
    error = refused(lambda path: RecordReader(path).read_at(0), path, found)
    assert error.offset == offset
    assert "rebuild_index" in error.way_out


@pytest.mark.parametrize("offset", [-4, 2, 8, 1 << 62])
def test_offsets_without_a_record(three: Path, offset: int) -> None:
    with RecordReader(three) as reader, pytest.raises(FormatError):
        reader.read_at(offset)


def test_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "empty.rec").write_bytes(b"")
    (tmp_path / "empty.idx").write_bytes(b"")
    with IndexedRecordReader(tmp_path / "empty.rec") as reader:
        assert len(reader) == 0
        assert list(reader.records.scan()) == []


def test_by_key_and_by_position(three: Path) -> None:
    with IndexedRecordReader(three) as reader:
        assert reader.keys.tolist() == [7, 0, 3]
        assert reader.offsets.tolist() == [0, 16, 24]
        assert [bytes(reader.read(key)) for key in (0, 3, 7)] == [b"", b"thr." + MAGIC_BYTES + b"e", b"seven"]
        assert bytes(reader.read_position(0)) == b"seven"
        for key in (-1, 1, 8):
            with pytest.raises(FormatError, match=f"no key {key}"):
                reader.read(key)


def test_a_later_line_of_the_same_key_counts(three: Path) -> None:
    three.with_suffix(".idx").write_text("7\t16\n7\t0\n")
    assert bytes(IndexedRecordReader(three).read(7)) == b"seven"


def test_readers_survive_pickling_and_threads(three: Path) -> None:
    reader = IndexedRecordReader(three)
    expected = [bytes(reader.read(key)) for key in (7, 0, 3)]
    copy = pickle.loads(pickle.dumps(reader))
    assert [bytes(copy.read(key)) for key in (7, 0, 3)] == expected
    with ThreadPoolExecutor(4) as threads:
        assert [bytes(payload) for payload in threads.map(reader.read, [7, 0, 3] * 50)] == expected * 50


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, when other tests left threads
def test_readers_survive_fork(three: Path) -> None:
    reader = IndexedRecordReader(three)
    expected = [bytes(reader.read(key)) for key in (7, 0, 3)]
    child = os.fork()
    if child == 0:
        os._exit(0 if [bytes(reader.read(key)) for key in (7, 0, 3)] == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def read_in_another_process(reader: IndexedRecordReader, key: int) -> bytes:
    return bytes(reader.read(key))


def test_reader_in_spawned_worker(three: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_in_another_process, (IndexedRecordReader(three), 7)) == b"seven"


def test_missing_index(three: Path) -> None:
    three.with_suffix(".idx").unlink()
    with pytest.raises(FormatError, match=r"three.idx: found no file.*mxface.formats.rebuild_index"):
        IndexedRecordReader(three)
    with IndexedRecordReader(three, rebuild_index=True) as reader:
        assert bytes(reader.read(0)) == b"seven"  # no headers: keys are the records' numbers


def test_index_of_another_file(three: Path) -> None:
    three.with_suffix(".idx").write_text("0\t4\n1\t4096\n")
    with pytest.raises(FormatError, match="a record at byte 4096"):
        IndexedRecordReader(three)
    three.with_suffix(".idx").write_text("0\t4\n")
    with IndexedRecordReader(three) as reader, pytest.raises(FormatError, match=r"byte 4: found magic .*rebuild_index"):
        reader.read(0)
    with IndexedRecordReader(three, rebuild_index=True) as reader:
        assert reader.offsets.tolist() == [0, 16, 24]


def test_other_index_path(three: Path, tmp_path: Path) -> None:
    other = three.with_suffix(".idx").rename(tmp_path / "other.txt")
    with IndexedRecordReader(three, other) as reader:
        assert len(reader) == 3


def test_nothing_is_left_of_an_aborted_writer(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), IndexedRecordWriter(tmp_path / "half.rec") as writer:
        writer.write(0, b"abc")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        IndexedRecordWriter(tmp_path / "none" / "half.rec", tmp_path / "half.idx")
    assert list(tmp_path.iterdir()) == []


def test_writer_without_with(tmp_path: Path) -> None:
    writer = IndexedRecordWriter(tmp_path / "a.rec")
    writer.write(np.int64(5), b"abc")
    assert list(tmp_path.glob("[!.]*")) == []
    writer.close()
    assert (tmp_path / "a.idx").read_text() == "5\t0\n"


def test_payload_beyond_the_length_field(tmp_path: Path) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_RECORD_BYTES + 1

    with pytest.raises(FormatError, match="536870912"), RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(Huge())


def face_payloads(num_images: int, ranges: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """Keys and payloads of a face data set, ids of images shuffled as some 2019 tools left them."""
    images = [(key, pack(IRHeader(0, 1.0, 99 - key, 0), b"jpeg")) for key in range(1, num_images + 1)]
    first = num_images + 1
    header = (0, pack(IRHeader(2, np.array([first, first + len(ranges)]), 0, 0), b""))
    identities = [(first + i, pack(IRHeader(2, np.array(pair), first + i, 0), b"")) for i, pair in enumerate(ranges)]
    return [*images, header, *identities]


@pytest.mark.parametrize("header_last", [False, True])
def test_face_keys_are_found_by_a_scan(tmp_path: Path, header_last: bool) -> None:
    records = face_payloads(3, [(1, 3), (3, 4)])
    if header_last:
        records.append(records.pop(3))
    with IndexedRecordWriter(tmp_path / "face.rec") as writer:
        for key, payload in records:
            writer.write(key, payload)
    keys, offsets = rebuild_index(tmp_path / "face.rec")
    expected_keys, expected_offsets = read_index(tmp_path / "face.idx")
    assert keys.tolist() == expected_keys.tolist()
    assert offsets.tolist() == expected_offsets.tolist()


@pytest.mark.parametrize(
    ("ids", "expected"), [((5, 9, 2), [5, 9, 2]), ((5, 5, 2), [0, 1, 2]), ((1 << 63, 1, 2), [0, 1, 2])]
)
def test_plain_keys_are_found_by_a_scan(tmp_path: Path, ids: tuple[int, ...], expected: list[int]) -> None:
    write_records(tmp_path / "plain.rec", [pack(IRHeader(0, 1.0, id_, 0), b"jpeg") for id_ in ids])
    assert rebuild_index(tmp_path / "plain.rec")[0].tolist() == expected


def test_records_without_headers_are_numbered_by_a_scan(tmp_path: Path) -> None:
    write_records(tmp_path / "text.rec", [b"short", b"\xff" * 40])
    assert rebuild_index(tmp_path / "text.rec")[0].tolist() == [0, 1]


def test_header_literal_bytes() -> None:
    assert pack(IRHeader(9, 1.5, 7, 1), b"body") == bytes.fromhex(
        "00000000 0000c03f 0700000000000000 0100000000000000 626f6479"  # a number forces flag 0
    )
    assert pack(IRHeader(0, np.array([1, 2]), 7, 1), b"") == bytes.fromhex(
        "02000000 00000000 0700000000000000 0100000000000000 0000803f 00000040"  # an array sets it
    )


@given(
    st.one_of(st.floats(width=32, allow_nan=False), st.lists(st.floats(width=32, allow_nan=False), min_size=1)),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=20),
)
def test_header_round_trip(label: float | list[float], id_: int, id2: int, body: bytes) -> None:
    given_label = label if isinstance(label, float) else np.array(label, np.float32)
    payload = pack(IRHeader(0, given_label, id_, id2), body)
    header, read_body = unpack(payload)
    assert (header.id, header.id2, bytes(read_body)) == (id_, id2, body)
    assert header.flag == (0 if isinstance(label, float) else len(label))
    np.testing.assert_array_equal(np.asarray(header.label), np.asarray(given_label))
    assert unpack_first_label(payload) == (np.ravel(given_label)[0], body)


@pytest.mark.parametrize(
    ("payload", "found"),
    [(b"", "a payload of 0 bytes"), (bytes(23), "a payload of 23 bytes"), (b"\xff" * 24, "4294967295 labels")],
)
@pytest.mark.parametrize("read", [unpack, unpack_first_label])
def test_bad_headers(payload: bytes, found: str, read: Callable[[bytes, str], object]) -> None:
    with pytest.raises(FormatError, match=f"faces.rec key 3: .*{found}|faces.rec key 3: found {found}"):
        read(payload, "faces.rec key 3")


@pytest.mark.parametrize("header", [IRHeader(0, 1e39, 0, 0), IRHeader(0, 1.0, -1, 0), IRHeader(0, 1.0, 0, 1 << 64)])
def test_headers_that_do_not_fit(header: IRHeader) -> None:
    with pytest.raises(FormatError):
        pack(header, b"")
