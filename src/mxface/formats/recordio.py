"""RecordIO: many small payloads in one file (`.rec`), found by key through a text index (`.idx`).

A record, little-endian, at an offset that is a multiple of 4:

    u32  magic 0xced7230a
    u32  part << 29 | length      part: 0 whole record, 1 first, 2 middle, 3 last part
         payload of `length` bytes, then zeros up to a multiple of 4

A payload that holds the magic at a multiple of 4 from its start is cut there and the magic left out; readers put it
back. The payload of a face record starts with a header, `mxface.formats.record_header`.
"""

from __future__ import annotations

import operator
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from mxface.errors import FormatError
from mxface.formats.atomic import atomic_write
from mxface.formats.mapped import map_file
from mxface.formats.record_header import IRHeader, pack, unpack
from mxface.formats.record_index import WAY_OUT, index_records, read_index, write_index

__all__ = [
    "MAGIC",
    "MAX_RECORD_BYTES",
    "IRHeader",
    "IndexedRecordReader",
    "IndexedRecordWriter",
    "RecordReader",
    "RecordWriter",
    "pack",
    "read_index",
    "rebuild_index",
    "unpack",
    "whole_payload",
    "write_index",
]

MAGIC = 0xCED7230A
MAX_RECORD_BYTES = (1 << 29) - 1
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_HEAD = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


class RecordReader:
    """Payloads of a `.rec` file by offset or in order, from a memory map.

    Safe to share between threads, to inherit by fork and to pickle (the map is opened anew). Payloads stay valid after
    `close`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._bytes = map_file(path)

    def read_at(self, offset: int) -> memoryview:
        """The payload of the record that starts at byte `offset`: a view of the map unless it was stored in parts."""
        return self._record(offset)[0]

    def scan(self) -> Iterator[tuple[int, memoryview]]:
        """Offset and payload of every record in file order."""
        offset = 0
        while offset < self.size:
            payload, end = self._record(offset)
            yield offset, payload
            offset = end

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._bytes)

    def close(self) -> None:
        self._bytes.release()

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[RecordReader], tuple[Path]]:
        return RecordReader, (self.path,)

    def _record(self, offset: int) -> tuple[memoryview, int]:
        """The whole payload of a record, and where the next one starts."""
        part, payload, end = self._part(offset)
        if part == _WHOLE:
            return payload, end
        if part != _FIRST:
            raise self._error(offset, f"part {part} of a record", "the start of a record")
        pieces: list[bytes | memoryview] = [payload]
        while part != _LAST:
            start = end
            part, payload, end = self._part(start)
            if part not in (_MIDDLE, _LAST):
                raise self._error(start, "the start of a record", f"the next part of the record at byte {offset}")
            pieces += _MAGIC_BYTES, payload
        return memoryview(b"".join(pieces)), end

    def _part(self, offset: int) -> tuple[int, memoryview, int]:
        """Kind and payload of one part, and where the next one starts."""
        size = self.size
        start = offset + _HEAD.size
        if offset < 0 or offset % 4 or start > size:
            raise self._error(offset, f"a file of {size} bytes", "a record, at a multiple of 4")
        magic, word = _HEAD.unpack_from(self._bytes, offset)
        if magic != MAGIC:
            raise self._error(offset, f"magic {magic:#x}", f"{MAGIC:#x}")
        stop = start + (word & MAX_RECORD_BYTES)
        end = stop + -stop % 4
        if end > size:
            raise self._error(offset, f"a record of {end - offset} bytes", f"at most the {size - offset} left")
        return word >> 29, self._bytes[start:stop], end

    def _error(self, offset: int, found: str, expected: str) -> FormatError:
        way_out = "fetch the file again if it is truncated, or, where the .idx belongs to another file, " + WAY_OUT
        return FormatError(self.path, found, expected, offset=offset, way_out=way_out)


class IndexedRecordReader:
    """Payloads of a `.rec` file by key, or by position in its index.

    `keys` and `offsets` are int64 (N,) in index order. Threads, fork and pickle: as `RecordReader`. Where a key occurs
    twice the later line counts, as in MXNet.
    """

    def __init__(
        self,
        rec_path: str | os.PathLike[str],
        idx_path: str | os.PathLike[str] | None = None,
        *,
        rebuild_index: bool = False,
    ) -> None:
        self.records = RecordReader(rec_path)
        self.idx_path = Path(idx_path) if idx_path else self.records.path.with_suffix(".idx")
        if rebuild_index:
            self.keys, self.offsets = index_records(self.records.scan())
        elif self.idx_path.exists():
            self.keys, self.offsets = read_index(self.idx_path)
        else:
            raise FormatError(self.idx_path, "no file", "the index of the .rec beside it", way_out=WAY_OUT)
        last = int(self.offsets.max(initial=0))
        if last > self.records.size:
            raise FormatError(
                self.idx_path,
                f"a record at byte {last}",
                f"all within the {self.records.size} bytes of {self.records.path.name}",
                way_out=f"the .rec is truncated, or this index is another file's: {WAY_OUT}",
            )

    def read(self, key: int) -> memoryview:
        """The payload of the record with this key."""
        keys, order = self._sorted_keys
        position = int(np.searchsorted(keys, key, side="right")) - 1
        if position < 0 or keys[position] != key:
            raise FormatError(self.idx_path, f"no key {key}", f"it among the {len(keys)} keys", way_out=WAY_OUT)
        return self.read_position(int(order[position]))

    def read_position(self, position: int) -> memoryview:
        """The payload of the record at this line of the index."""
        return self.records.read_at(int(self.offsets[position]))

    def __len__(self) -> int:
        return len(self.keys)

    def close(self) -> None:
        self.records.close()

    def __enter__(self) -> IndexedRecordReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @cached_property
    def _sorted_keys(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        order = np.argsort(self.keys, kind="stable")
        return self.keys[order], order


class RecordWriter:
    """Appends payloads to a `.rec` file that appears on `close`; an exception in the `with` block leaves nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(atomic_write(path))
        self._offset = 0

    def write(self, payload: bytes) -> int:
        """Append a record and return its byte offset."""
        if len(payload) > MAX_RECORD_BYTES:
            raise FormatError(self.path, f"a payload of {len(payload)} bytes", f"at most {MAX_RECORD_BYTES}")
        offset = self._offset
        *cut, rest = _split_at_magic(payload)
        for number, piece in enumerate(cut):
            self._write_part(_MIDDLE if number else _FIRST, piece)
        self._write_part(_LAST if cut else _WHOLE, rest)
        return offset

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _write_part(self, part: int, piece: bytes) -> None:
        padding = bytes(-len(piece) % 4)
        self._file.write(_HEAD.pack(MAGIC, part << 29 | len(piece)) + piece + padding)
        self._offset += _HEAD.size + len(piece) + len(padding)


class IndexedRecordWriter:
    """Writes a `.rec` and its `.idx` together; both appear on `close`, or neither."""

    def __init__(self, rec_path: str | os.PathLike[str], idx_path: str | os.PathLike[str] | None = None) -> None:
        with ExitStack() as stack:
            self._index = stack.enter_context(
                atomic_write(idx_path if idx_path else Path(rec_path).with_suffix(".idx"), "w")
            )
            self._records = stack.enter_context(RecordWriter(rec_path))
            self._stack = stack.pop_all()

    def write(self, key: int, payload: bytes) -> None:
        """Append a record; keys are whole numbers from 0 and should be unique (they are not checked)."""
        offset = self._records.write(payload)
        self._index.write(f"{operator.index(key)}\t{offset}\n")

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> IndexedRecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)


def rebuild_index(rec_path: str | os.PathLike[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keys and offsets, (N,) each, of a `.rec` whose `.idx` is lost, from every record's head."""
    with RecordReader(rec_path) as records:
        return index_records(records.scan())


def whole_payload(record: bytes) -> memoryview | None:
    """The payload, a view, of the record that these bytes begin with; None where it is in parts, cut or damaged."""
    if len(record) < _HEAD.size:
        return None
    magic, word = _HEAD.unpack_from(record)
    stop = _HEAD.size + (word & MAX_RECORD_BYTES)
    if magic != MAGIC or word >> 29 != _WHOLE or stop > len(record):
        return None
    return memoryview(record)[_HEAD.size : stop]


def _split_at_magic(payload: bytes) -> list[bytes]:
    """Cut at every magic that lies at a multiple of 4 from the start, and leave it out."""
    pieces = []
    start = 0
    found = payload.find(_MAGIC_BYTES)
    while found >= 0:
        if found % 4:
            found = payload.find(_MAGIC_BYTES, found + 1)
            continue
        pieces.append(payload[start:found])
        start = found + len(_MAGIC_BYTES)
        found = payload.find(_MAGIC_BYTES, start)
    pieces.append(payload[start:])
    return pieces
