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
    size = len(record)
    if size < HEADER.size:
        raise FormatError(source, f"a payload of {size} bytes", f"a header of {HEADER.size} bytes")
    flag, label, id_, id2 = HEADER.unpack_from(record)
    body_start = HEADER.size + flag * _LABEL.itemsize
    if body_start > size:
        raise FormatError(source, f"{flag} labels", f"at most the {size - HEADER.size} bytes left", offset=0)
    if flag:
        label = np.frombuffer(record, _LABEL, count=flag, offset=HEADER.size).copy()
    return IRHeader(flag, label, id_, id2), memoryview(record)[body_start:]
