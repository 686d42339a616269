"""Files as joblib writes lists of arrays with lz4, made without either."""

from __future__ import annotations

import pickle
import struct

import numpy as np

HEADER = bytes.fromhex("04224d18 40 40 c0")
FLOAT32 = b"cnumpy\ndtype\n(\x8c\x02f4\x89\x88tR(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def stored(*blocks: bytes) -> bytes:
    """An LZ4 frame of uncompressed blocks."""
    return HEADER + b"".join(struct.pack("<I", len(block) | 1 << 31) + block for block in blocks) + bytes(4)


def body(value: object) -> bytes:
    """A pickle's opcodes between its first and its last."""
    return pickle.dumps(value, protocol=2)[2:-1]


def wrapped(array: np.ndarray, padding: int = 0, dtype: bytes = FLOAT32, order: str = "C", **state: object) -> bytes:
    """What joblib writes for one array: the wrapper object, then padding and the array itself."""
    entries = {"shape": array.shape, "order": order, "numpy_array_alignment_bytes": 16, **state}
    pairs = b"".join(body(key) + body(value) for key, value in entries.items()) + body("dtype") + dtype
    data = array.astype("<f4").tobytes(order)  # type: ignore[arg-type]
    wrapper = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(" + pairs + b"ub"
    return wrapper + bytes([padding]) + b"\xff" * padding + data


def pickled(*items: bytes) -> bytes:
    return b"\x80\x04](" + b"".join(items) + b"e."
