"""Verification sets (`.bin`): a pickle of (list of 2P encoded images, list of P booleans); pair i is images 2i, 2i+1.

A pickle can run code, so this reader admits only what such sets are made of: lists, tuples, booleans, whole numbers,
bytes (Python 2 strings too), and NumPy arrays and scalars of integers and booleans, by stand-ins that allocate nothing.
Before anything is built, every opcode, length and memo number is checked against the file.
"""

from __future__ import annotations

import io
import math
import operator
import os
import pickle
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mxface.errors import FormatError
from mxface.formats.atomic import atomic_write

PROTOCOL = 5
WAY_OUT = (
    "fetch the set again or build it with src/data/lfw2pack.py: this file is damaged, no such set, or made to do harm"
)
_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
    """.split()  # noqa: SIM905 - pickletools' names, easier to read as a paragraph
)
_MEMO_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_DTYPES = frozenset({"?", "b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"})


@dataclass(frozen=True, eq=False)
class EvalSet:
    """`images`: 2P encoded images; `issame` (P,): whether images 2i and 2i+1 show one person."""

    images: list[bytes]
    issame: npt.NDArray[np.bool_]


def read_evalset(path: str | os.PathLike[str]) -> EvalSet:
    """Read a set pickled by Python 2 or 3 with any protocol, images as bytes or as uint8 arrays."""
    with Path(path).open("rb") as file:
        first = file.read(1)
        if first not in (b"\x80", b"(", b"]"):
            raise FormatError(path, f"first byte {first!r}", "a pickle", offset=0, way_out=WAY_OUT)
        file.seek(0)
        data = file.read()
    try:
        _check_opcodes(path, data)
        stored_images, stored_issame = _SetUnpickler(data).load()
        images, issame = _image_bytes(stored_images), _flags(stored_issame)
        if len(images) != 2 * len(issame):
            raise ValueError(f"{len(images)} images for {len(issame)} pairs")
    except FormatError:
        raise
    except Exception as exc:  # what a hostile pickle raises is its author's choice
        raise FormatError(path, f"a pickle that fails ({exc!r:.200})", "a verification set", way_out=WAY_OUT) from exc
    return EvalSet(images, issame)


def write_evalset(
    path: str | os.PathLike[str], images: Sequence[bytes], issame: Sequence[bool], *, protocol: int = PROTOCOL
) -> None:
    """Write a set as 2019's lfw2pack does under Python 3.

    `protocol=2` makes a file that Python 2 opens too, half as large again.
    """
    pair = (list(images), [bool(same) for same in issame])
    if len(pair[0]) != 2 * len(pair[1]):
        raise FormatError(path, f"{len(pair[0])} images for {len(pair[1])} pairs", "two images a pair")
    with atomic_write(path) as file:
        pickle.dump(pair, file, protocol)


def _check_opcodes(path: str | os.PathLike[str], data: bytes) -> None:
    """Refuse what a set does not need, and numbers for which the unpickler would allocate more than the file's size.

    `pickletools` itself refuses lengths beyond the end.
    """
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        found, expected = f"opcode {opcode.name}", ""
        if opcode.name not in _OPCODES:
            expected = "only those of lists, bytes and arrays"
        elif opcode.name in _MEMO_PUTS and int(argument or 0) > count:
            found, expected = f"memo number {argument}", f"at most {count}"
        elif opcode.name == "FRAME" and int(argument or 0) > len(data):
            found, expected = f"a frame of {argument} bytes", f"at most the {len(data)} of the file"
        if expected:
            raise FormatError(path, found, expected, offset=position, way_out=WAY_OUT)


class _Dtype:
    """Stands in for `numpy.dtype`."""

    def __init__(self, name: str, *_flags: object) -> None:
        if name not in _DTYPES:
            raise ValueError(f"arrays of type {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for `numpy.ndarray`: remembers the pickled bytes and makes no array."""

    dtype = np.dtype(np.uint8)
    data: bytes | str = b""

    def __setstate__(self, state: tuple[object, tuple[int, ...], _Dtype, object, bytes | str]) -> None:
        _version, shape, dtype, _fortran_order, self.data = state
        self.dtype = dtype.dtype
        size = max(shape)
        if len(shape) > 2 or size != math.prod(shape) or size * self.dtype.itemsize != len(self.data):
            raise ValueError(f"an array of shape {shape} with {len(self.data)} bytes, not one row or column")


def _reconstruct(_class: object, _shape: object, _code: object) -> _Array:
    return _Array()


def _frombuffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: object) -> _Array:
    """Stands in for NumPy's function of protocol 5."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order, data))
    return array


def _scalar(dtype: _Dtype, data: bytes | str) -> int:
    return int(np.frombuffer(_as_bytes(data), dtype.dtype, 1)[0])


def _encode(text: str, codec: str) -> str:
    """Stands in for `_codecs.encode`, as which Python 3 writes bytes for Python 2; `_image_bytes` does the work."""
    if codec != "latin1":
        raise ValueError(f"codec {codec!r}")
    return text


_ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _SetUnpickler(pickle.Unpickler):
    """Finds nothing but the stand-ins; Python 2 strings come as text of their bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ADMITTED[module, name]


def _as_bytes(data: bytes | bytearray | str) -> bytes:
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, bytes | bytearray):  # bytes(10**12) would allocate as much
        raise TypeError(f"{type(data).__name__} where bytes should be")
    return bytes(data)


def _image_bytes(stored: list[bytes | bytearray | str | _Array]) -> list[bytes]:
    """Every image as bytes. An object named many times is converted once, so memory stays near the file's size."""
    converted: dict[int, bytes] = {}
    images: list[bytes] = []
    for image in stored:
        if isinstance(image, _Array) and image.dtype.itemsize != 1:
            raise TypeError(f"image {len(images)} is an array of {image.dtype}, not uint8")
        data = image.data if isinstance(image, _Array) else image
        if id(data) not in converted:
            converted[id(data)] = _as_bytes(data)
        images.append(converted[id(data)])
    return images


def _flags(stored: list[int] | _Array) -> npt.NDArray[np.bool_]:
    """One boolean a pair, (P,)."""
    if isinstance(stored, _Array):
        values = np.frombuffer(_as_bytes(stored.data), stored.dtype)
    else:
        values = np.array([operator.index(value) for value in stored], np.int64)
    if not np.isin(values, (0, 1)).all():
        raise ValueError("pairs that are neither same nor different")
    return values.astype(np.bool_)
