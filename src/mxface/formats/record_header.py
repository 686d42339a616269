"""The header before an image in a record's payload: MXNet's `IRHeader`, little-endian.

u32 flag    number of labels that follow, 0: one label, in the header
f32 label   0 where flag > 0
u64 id
u64 id2
f32 × flag  labels
    then the body: an encoded image, or nothing in the records that describe a data set's layout
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mxface.errors import FormatError

HEADER = struct.Struct("<IfQQ")
_LABEL = np.dtype("<f4")
_FLAG_AND_LABEL = struct.Struct("<If")
_FIRST_LABEL = struct.Struct("<f")


class IRHeader(NamedTuple):
    """`label` is a float where flag is 0, else float32 (flag,)."""

    flag: int
    label: float | npt.NDArray[np.float32]
    id: int
    id2: int


def pack(header: IRHeader, payload: bytes) -> bytes:
    """Header and body as one record payload. The label decides the flag: 0 for a number, its length for an array."""
    try:
        if np.ndim(header.label) == 0:
            return HEADER.pack(0, header.label, header.id, header.id2) + payload
        labels = np.asarray(header.label, _LABEL)
        return HEADER.pack(labels.size, 0.0, header.id, header.id2) + labels.tobytes() + payload
    except (struct.error, OverflowError) as exc:
        raise FormatError("<record>", f"{header}", "a float32 label and ids from 0 to 2**64-1") from exc


def unpack(record: bytes | memoryview, source: str = "<record>") -> tuple[IRHeader, memoryview]:
    """Header and body of a record payload; the body is a view. `source` names the record in errors."""
    check_size(len(record), HEADER.size, source)
    flag, label, id_, id2 = HEADER.unpack_from(record)
    body_start = check_size(len(record), HEADER.size + flag * _LABEL.itemsize, source)
    if flag:
        label = np.frombuffer(record, _LABEL, count=flag, offset=HEADER.size).copy()
    return IRHeader(flag, label, id_, id2), memoryview(record)[body_start:]


def unpack_first_label(record: bytes | memoryview, source: str = "<record>") -> tuple[float, memoryview]:
    """The first or only label and the body, as `unpack` gives them, in a third of its time."""
    check_size(len(record), HEADER.size, source)
    flag, label = _FLAG_AND_LABEL.unpack_from(record)
    if flag:
        body_start = check_size(len(record), HEADER.size + flag * _LABEL.itemsize, source)
        return _FIRST_LABEL.unpack_from(record, HEADER.size)[0], memoryview(record)[body_start:]
    return label, memoryview(record)[HEADER.size :]


def check_size(size: int, needed: int, source: str) -> int:
    """`needed`, the bytes of a header with its labels, where a payload of `size` holds them."""
    if size >= needed:
        return needed
    if size < HEADER.size:
        raise FormatError(source, f"a payload of {size} bytes", f"a header of {HEADER.size} bytes")
    labels = (needed - HEADER.size) // _LABEL.itemsize
    raise FormatError(source, f"{labels} labels", f"at most the {size - HEADER.size} bytes left", offset=0)
