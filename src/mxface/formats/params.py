"""MXNet's NDArray files (`.params`): named arrays. Little-endian.

    u64 0x112, u64 0, u64 n, n array records, u64 n, n × (u64 length, UTF-8 name)

    array record   legacy (to 2016)   V1 0xF993FAC8    V2 0xF993FAC9, V3 0xF993FACA
    version        -                  u32              u32
    storage type   -                  -                i32, 0 = dense
    dimensions     u32, × u32         u32, × i64       i32, × i64
    device         i32 kind, i32 number
    type           i32, see DTYPES
    data           C order

No dimensions mean an array without data, and nothing follows them; in V3 (NumPy semantics) that is -1 dimensions, and 0
dimensions are a scalar. We read all versions and write V2, as MXNet 1.x does.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mxface.errors import FormatError
from mxface.formats.atomic import atomic_write
from mxface.formats.mapped import map_file

FILE_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MAX_DIMENSIONS = 32
MAX_ELEMENTS = 1 << 56
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?"}
BFLOAT16 = 12
_TYPE_CODES = {np.dtype(name): code for code, name in DTYPES.items()}
_SPARSE = {1: "row sparse", 2: "csr"}
_SMALLEST_RECORD = 4
_SMALLEST_NAME = 8
_NO_DATA = np.empty(0, np.float32)  # one for all: a hostile file may hold millions
_WAY_OUT = "fetch or save the file again; it is damaged or not an MXNet .params file"

Array = npt.NDArray[Any]


def read_params(path: str | os.PathLike[str]) -> dict[str, Array]:
    """All arrays by their raw names (`arg:conv0_weight`, `aux:bn0_moving_mean`).

    Arrays are views of a private memory map where the file aligns them, else copies; the file never changes with them.
    bfloat16 comes back as float32, exactly. Sparse arrays are refused.
    """
    cursor = _Cursor(Path(path))
    magic, _reserved = cursor.take("<QQ", "the file's header")
    if magic != FILE_MAGIC:
        raise cursor.error(f"magic {magic:#x}", f"{FILE_MAGIC:#x}", at=0)
    arrays = [_read_array(cursor) for _ in range(cursor.count("arrays", _SMALLEST_RECORD))]
    at = cursor.offset
    names = [_read_name(cursor) for _ in range(cursor.count("names", _SMALLEST_NAME))]
    if len(names) != len(arrays):
        way_out = "save the arrays with their names, mx.nd.save(path, {name: array})"
        raise cursor.error(f"{len(names)} names", f"one for each of the {len(arrays)} arrays", at=at, way_out=way_out)
    named = dict(zip(names, arrays, strict=True))
    if len(named) != len(names):
        raise cursor.error(f"{len(names) - len(named)} names twice", "each name once", at=at)
    if cursor.offset != len(cursor.bytes):
        raise cursor.error(f"{len(cursor.bytes) - cursor.offset} bytes more", "the end of the file")
    return named


def write_params(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write a V2 file, byte for byte what MXNet 1.x writes for these arrays in this order.

    Refused, as MXNet cannot hold them: types beyond DTYPES, and arrays without dimensions or without elements.
    """
    for name, array in arrays.items():
        if array.dtype.newbyteorder("<") not in _TYPE_CODES:
            known = ", ".join(str(dtype) for dtype in _TYPE_CODES)
            raise FormatError(path, f"{name} of type {array.dtype}", f"one of {known}", way_out="convert it first")
        if array.ndim == 0 or array.size == 0:
            raise FormatError(path, f"{name} of shape {array.shape}", "at least one dimension and one element")
    with atomic_write(path) as file:
        file.write(struct.pack("<QQQ", FILE_MAGIC, 0, len(arrays)))
        for array in arrays.values():
            _write_array(file, array)
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            encoded = name.encode()
            file.write(struct.pack("<Q", len(encoded)) + encoded)


class _Cursor:
    """A position in the mapped file; nothing is taken beyond its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = map_file(path)
        self.offset = 0

    def take(self, layout: str, what: str) -> tuple[Any, ...]:
        """Numbers of a struct layout."""
        return struct.unpack_from(layout, self.bytes, self.skip(struct.calcsize(layout), what))

    def skip(self, length: int, what: str) -> int:
        """Step over `length` bytes and return where they start."""
        start, left = self.offset, len(self.bytes) - self.offset
        if length > left:
            raise self.error(f"{left} bytes left", f"{length} for {what}")
        self.offset += length
        return start

    def count(self, what: str, smallest: int) -> int:
        """A u64 number of things of at least `smallest` bytes each."""
        (count,) = self.take("<Q", f"the number of {what}")
        left = len(self.bytes) - self.offset
        if count > left // smallest:
            raise self.error(f"{count} {what}", f"at most the {left // smallest} that fit", at=self.offset - 8)
        return int(count)

    def error(self, found: str, expected: str, *, at: int | None = None, way_out: str = _WAY_OUT) -> FormatError:
        return FormatError(self.path, found, expected, offset=self.offset if at is None else at, way_out=way_out)


def _read_array(cursor: _Cursor) -> Array:
    start = cursor.offset
    shape = _read_shape(cursor)
    if shape is None:
        return _NO_DATA
    _device, _number, code = cursor.take("<iii", "device and type")
    if code != BFLOAT16 and code not in DTYPES:
        raise cursor.error(f"type {code}", f"one of {sorted([*DTYPES, BFLOAT16])}", at=cursor.offset - 4)
    dtype = np.dtype(DTYPES.get(code, "<u2"))
    count = math.prod(shape)
    data = cursor.skip(count * dtype.itemsize, f"an array of shape {shape} that starts at byte {start}")
    array = np.frombuffer(cursor.bytes, dtype, count, data) if count else np.empty(0, dtype)
    if code == BFLOAT16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    array = array.reshape(shape)
    return array if array.flags.aligned else array.copy()


def _read_shape(cursor: _Cursor) -> tuple[int, ...] | None:
    """The dimensions of the next array, None where it has no data."""
    start = cursor.offset
    (version,) = cursor.take("<I", "an array's version")
    if version in (V2, V3):
        (storage,) = cursor.take("<i", "a storage type")
        if storage != 0:
            kind = _SPARSE.get(storage, "unknown")
            raise cursor.error(f"storage type {storage} ({kind})", "0, a dense array", at=cursor.offset - 4)
    ndim = cursor.take("<i", "the number of dimensions")[0] if version in (V1, V2, V3) else version
    if ndim > MAX_DIMENSIONS or ndim < (-1 if version == V3 else 0):
        raise cursor.error(f"{ndim} dimensions", f"at most {MAX_DIMENSIONS}", at=start)
    if ndim == (-1 if version == V3 else 0):
        return None
    at = cursor.offset
    shape = cursor.take(f"<{ndim}{'q' if version in (V1, V2, V3) else 'I'}", "the dimensions")
    if min(shape, default=0) < 0 or math.prod(dim or 1 for dim in shape) > MAX_ELEMENTS:
        raise cursor.error(f"dimensions {shape}", f"none below 0, and at most {MAX_ELEMENTS} elements", at=at)
    return shape


def _read_name(cursor: _Cursor) -> str:
    (length,) = cursor.take("<Q", "a name's length")
    start = cursor.skip(length, "a name")
    try:
        return str(cursor.bytes[start : cursor.offset], "utf-8")
    except UnicodeDecodeError as exc:
        raise cursor.error("bytes that are not UTF-8", "a name", at=start) from exc


def _write_array(file: IO[bytes], array: Array) -> None:
    dtype = array.dtype.newbyteorder("<")
    ordered = np.ascontiguousarray(array, dtype)
    file.write(struct.pack("<Iii", V2, 0, array.ndim))
    file.write(struct.pack(f"<{array.ndim}q", *array.shape))
    file.write(struct.pack("<iii", 1, 0, _TYPE_CODES[dtype]))
    file.write(ordered.reshape(-1).view(np.uint8).data)
