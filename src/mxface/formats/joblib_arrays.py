"""Lists of arrays that joblib dumped into an LZ4 frame (the weights in the `mtcnn` wheel), read without joblib and lz4.

Loading such a file with joblib may run any code that its pickle names. Here nothing runs: of the pickle, the names of
joblib's array wrapper and of a numpy dtype are admitted, and all else is refused.

    LZ4 frame (little-endian): u32 magic 0x184D2204; u8 flags (0x40 or 0x60: no checksums, sizes or dictionary);
        u8 block size; u8 header checksum (unchecked); blocks: u32 size (top bit: stored as is), data; u32 0
    within it a pickle; after each array wrapper's BUILD: u8 n, n padding bytes, the array's bytes in C or F order
"""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxface.errors import FormatError

_LZ4_MAGIC = 0x184D2204
_STORED = 1 << 31
# The whole of a file's arrays: far above any that we read, far below what would hurt.
_LIMIT = 256 << 20


def read_joblib_arrays(data: bytes, source: str | os.PathLike[str]) -> list[NDArray[np.float32]]:
    """Return the float32 arrays of the list in `data`. `source` is its name, for errors.

    Raises FormatError where the bytes are anything else than described above.
    """
    stream = _Stream(decompress_lz4_frame(data, source), source)
    try:
        loaded = _ArraysUnpickler(stream).load()
        arrays = [item.array for item in loaded]
    except FormatError:
        raise
    except Exception as exc:  # a damaged pickle raises nearly anything
        raise _error(source, f"a damaged pickle ({exc})") from exc
    return arrays


def decompress_lz4_frame(data: bytes, source: str | os.PathLike[str]) -> bytes:
    """Decompress one LZ4 frame without checksums."""
    out = bytearray()
    try:
        magic, flags, _, _ = struct.unpack_from("<IBBB", data)
        if magic != _LZ4_MAGIC or flags not in (0x40, 0x60):
            raise _error(source, f"magic {magic:#x} and flags {flags:#x}", offset=0)
        position = 7
        while size := struct.unpack_from("<I", data, position)[0]:
            begin, end = position + 4, position + 4 + (size & ~_STORED)
            if end > len(data):
                raise _error(source, f"a block of {end - begin} bytes", offset=position)
            if size & _STORED:
                out += data[begin:end]
            else:
                _decompress_block(data[begin:end], out)
            if len(out) > _LIMIT:
                raise _error(source, f"more than {_LIMIT} bytes", offset=position)
            position = end
    except (struct.error, IndexError) as exc:
        raise _error(source, f"a truncated file of {len(data)} bytes") from exc
    return bytes(out)


def _decompress_block(block: bytes, out: bytearray) -> None:
    """Append a compressed block to `out`: literals and a match (a copy of earlier output) by turns; literals end it."""
    position = 0

    def read_length(length: int) -> int:
        nonlocal position
        byte = 255 if length == 15 else 0
        while byte == 255:
            byte = block[position]
            position += 1
            length += byte
        return length

    while True:
        token = block[position]
        position += 1
        literals = read_length(token >> 4)
        out += block[position : position + literals]
        position += literals
        if position >= len(block):
            return
        distance = block[position] | block[position + 1] << 8
        position += 2
        length = read_length(token & 15) + 4
        if not 0 < distance <= len(out):
            raise IndexError("match before the beginning")
        # A match may overlap what it produces: then it repeats the last `distance` bytes.
        pattern = bytes(out[-distance:])
        out += (pattern * (length // distance + 1))[:length]


class _Stream:
    """What the unpickler and the array wrappers read from, by turns; it never reads ahead, having no `peek`."""

    def __init__(self, data: bytes, source: str | os.PathLike[str]) -> None:
        self._file = io.BytesIO(data)
        self._size = len(data)
        self.source = source
        self.read = self._file.read
        self.readline = self._file.readline

    def read_array(self, state: Mapping[str, Any]) -> NDArray[np.float32]:
        """Read the array that a wrapper of this state announces."""
        offset = self._file.tell()
        shape, order = state["shape"], state["order"]
        count = 1
        for extent in shape:
            if type(extent) is not int or extent < 0:
                raise _error(self.source, f"an array of shape {shape!r}", offset=offset)
            count *= extent
        self._file.seek(self._file.read(1)[0], io.SEEK_CUR)
        fits = 4 * count <= self._size - self._file.tell()
        if not (fits and order in ("C", "F") and isinstance(state["dtype"], _Float32)):
            raise _error(self.source, f"an array of shape {shape!r}, order {order!r} that does not fit", offset=offset)
        values: NDArray[np.float32] = np.frombuffer(self._file.read(4 * count), "<f4").astype(np.float32)
        return np.reshape(values, shape, order=order)


class _ArraysUnpickler(pickle.Unpickler):
    """Admits joblib's array wrapper and the dtype float32, and makes neither."""

    def __init__(self, stream: _Stream) -> None:
        super().__init__(stream)
        self._stream = stream

    def find_class(self, module: str, name: str) -> Any:
        stream = self._stream

        class Wrapper:
            """Stands for `NumpyArrayWrapper`: when its state is set, its array's bytes follow in the stream."""

            def __setstate__(self, state: Mapping[str, Any]) -> None:
                self.array = stream.read_array(state)

        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return Wrapper
        if (module, name) == ("numpy", "ndarray"):
            return None
        if (module, name) == ("numpy", "dtype"):
            return _Float32
        raise _error(stream.source, f"a pickle that asks for {module}.{name}")


class _Float32:
    """Stands for `numpy.dtype("f4")` in a pickle."""

    def __init__(self, code: str, *_: object) -> None:
        if code != "f4":
            raise ValueError(f"dtype {code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            raise ValueError(f"byte order {state[1]!r}")


def _error(source: str | os.PathLike[str], found: str, offset: int | None = None) -> FormatError:
    return FormatError(source, found, "a list of float32 arrays as joblib writes it with lz4", offset=offset)
