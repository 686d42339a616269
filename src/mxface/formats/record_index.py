"""The text index of a RecordIO file: one line `key TAB byte offset` a record, in file order.

Keys and offsets are whole numbers from 0; keys need not be sorted. Blank lines and Windows line ends are accepted.
"""

from __future__ import annotations

import os
import re
import struct
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mxface.errors import FormatError
from mxface.formats.atomic import atomic_write
from mxface.formats.record_header import HEADER

WAY_OUT = "rebuild it from the .rec: python -m mxface.formats.rebuild_index FILE.rec"
LINES_PER_WRITE = 1 << 16
_RANGE = struct.Struct("<ff")
_LINE = re.compile(rb"\s*|[ ]*\+?\d{1,18}[ ]*\t[ ]*\+?\d{1,18}[ ]*\r?\n?")


def read_index(path: str | os.PathLike[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keys and offsets, (N,) each, in file order: two strided views of one (N, 2) array, so 16 bytes a record.

    NumPy's C parser reads 5.8 million lines in about half a second; Python looks at lines only to find the wrong one.
    """
    try:
        with Path(path).open(encoding="ascii") as file:
            if not file.read(4096).strip():
                return np.empty(0, np.int64), np.empty(0, np.int64)
            file.seek(0)
            table = np.loadtxt(file, dtype=np.int64, delimiter="\t", comments=None, ndmin=2)
    except ValueError as exc:
        raise _bad_line(path) from exc
    if table.shape[1] != 2 or (table < 0).any():
        raise _bad_line(path)
    return table[:, 0], table[:, 1]


def write_index(path: str | os.PathLike[str], keys: npt.ArrayLike, offsets: npt.ArrayLike) -> None:
    """Write an index from (N,) keys and (N,) offsets, byte for byte as MXNet does."""
    pairs = np.stack([np.asarray(keys, np.int64), np.asarray(offsets, np.int64)], axis=1)
    with atomic_write(path, "w") as file:
        for start in range(0, len(pairs), LINES_PER_WRITE):
            chunk = pairs[start : start + LINES_PER_WRITE].tolist()
            file.write("".join([f"{key}\t{offset}\n" for key, offset in chunk]))


def index_records(
    records: Iterable[tuple[int, memoryview]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keys and offsets, (N,) each, of records given as offset and payload in file order.

    A face data set tells its own keys: the record with an empty body and labels `[first identity, number of records]`
    is key 0 and the others count from 1. Elsewhere keys are the headers' ids where these are all different, else the
    records' numbers from 0, as MXNet's rec2idx gives.
    """
    offsets = array("q")
    ids = array("Q")
    layout_records: list[tuple[int, float]] = []
    for number, (offset, payload) in enumerate(records):
        offsets.append(offset)
        if len(payload) < HEADER.size:
            continue
        flag, _label, id_, _id2 = HEADER.unpack_from(payload)
        ids.append(id_)
        if flag == 2 and len(payload) == HEADER.size + _RANGE.size:
            layout_records.append((number, _RANGE.unpack_from(payload, HEADER.size)[1]))
    keys = np.arange(len(offsets))
    headers = [number for number, end in layout_records if end == np.float32(len(offsets))]
    if headers:
        keys[: headers[0]] += 1
        keys[headers[0]] = 0
    elif len(np.unique(ids)) == len(offsets) and max(ids, default=0) < 1 << 63:
        keys = np.array(ids, np.int64)
    return keys, np.array(offsets, np.int64)


def _bad_line(path: str | os.PathLike[str]) -> FormatError:
    """The error for the first line that is not two whole numbers."""
    found, offset = "other text", 0
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not _LINE.fullmatch(line):
                found = f"line {number} {line[:80]!r}"
                break
            offset += len(line)
    return FormatError(path, found, "lines of two whole numbers, key TAB offset", offset=offset, way_out=WAY_OUT)
