"""Literal bytes, the LZ4 rules, and files that want something else."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.joblib_file import FLOAT32, HEADER, pickled, stored, wrapped

from mxface.errors import FormatError
from mxface.formats.joblib_arrays import decompress_lz4_frame, read_joblib_arrays


def compressed(*blocks: bytes) -> bytes:
    return HEADER + b"".join(struct.pack("<I", len(block)) + block for block in blocks) + bytes(4)


A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([1.5], np.float32)


def test_arrays_come_back_in_order_and_shape() -> None:
    fortran = wrapped(A, order="F")
    arrays = read_joblib_arrays(stored(pickled(wrapped(A, padding=3), wrapped(B, padding=15), fortran)), "x.lz4")
    for array, expected in zip(arrays, (A, B, A), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.float32


def test_frames_are_read_by_lz4s_rules() -> None:
    # token 0x40: 4 literals, a match of 4 at distance 4; token 0x1F + 0x02: 1 literal, a match of 21 at distance 1;
    # token 0x10: one literal, the end
    block = b"\x40abcd\x04\x00" + b"\x1fz\x01\x00\x02" + b"\x10!"
    assert decompress_lz4_frame(compressed(block), "x") == b"abcdabcd" + b"z" * 22 + b"!"
    # the second block reaches back into the first
    assert decompress_lz4_frame(compressed(b"\x40abcd", b"\x01\x04\x00\x10e"), "x") == b"abcdabcdae"
    # 15 + 255 + 2 literals
    assert decompress_lz4_frame(compressed(b"\xf0\xff\x02" + b"y" * 272), "x") == b"y" * 272


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER,
        b"\x00" * 20,
        bytes.fromhex("04224d18 44 40 c0") + bytes(4),  # a content checksum
        HEADER + struct.pack("<I", 1 << 30) + b"abc",
        compressed(b"\x00\x05\x00"),  # a match before the beginning
        compressed(b"\x00\x00\x00"),  # at distance 0
        compressed(b"\xf0\xff\xff"),  # a length without end
        stored(b""),
        stored(pickled(wrapped(A))[:-9]),
        stored(pickled(wrapped(A, shape=(1 << 40, 2)))),
        stored(pickled(wrapped(A, shape=(-1, 2)))),
        stored(pickled(wrapped(A, shape="23"))),
        stored(pickled(wrapped(A, order="A"))),
        stored(pickled(wrapped(A, dtype=FLOAT32.replace(b"f4", b"O8")))),
        stored(pickled(wrapped(A, dtype=FLOAT32.replace(b"<", b">")))),
        stored(pickled(wrapped(A, dtype=b"N"))),
        stored(pickle.dumps([1, 2, 3])),
        stored(pickle.dumps({"a": 1})),
    ],
)
def test_anything_else_is_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"^x\.lz4: .*expected a list of float32 arrays"):
        read_joblib_arrays(data, "x.lz4")


def test_code_in_a_pickle_is_refused_by_name() -> None:
    with pytest.raises(FormatError, match=r"asks for (os|posix|nt)\.system"):
        read_joblib_arrays(stored(b"cos\nsystem\n(\x8c\x04echotR."), "x.lz4")


@settings(deadline=None)  # a busy machine is no defect
@given(st.data())
def test_damaged_bytes_raise_nothing_but_format_errors(data: st.DataObject) -> None:
    good = bytearray(stored(pickled(wrapped(A, padding=3), wrapped(B))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_joblib_arrays(bytes(good), "x.lz4")
    except FormatError:
        pass
