from __future__ import annotations

import collections
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mxface.errors import FormatError
from mxface.formats.evalset import EvalSet, read_evalset, write_evalset

IMAGES = [b"\xff\xd8jpeg one", b"\xff\xd8\x00", b"\x89PNG\r\n", bytes(range(256))]
ISSAME = [True, False]


class Reduced:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def assert_is_the_set(read: EvalSet) -> None:
    assert read.images == IMAGES
    assert all(type(image) is bytes for image in read.images)
    assert read.issame.dtype == np.bool_
    assert read.issame.tolist() == ISSAME


def uint8_arrays(*, column: bool = False) -> list[np.ndarray[Any, Any]]:
    """As cv2.imencode gives them: a row, or in older versions a column."""
    arrays = [np.frombuffer(image, np.uint8) for image in IMAGES]
    return [array.reshape(-1, 1) for array in arrays] if column else arrays


def test_literal_bytes(tmp_path: Path) -> None:
    write_evalset(tmp_path / "a.bin", [b"a", b"bc"], [True])
    assert (tmp_path / "a.bin").read_bytes() == bytes.fromhex(
        "8005 95 1400000000000000"  # protocol 5, one frame
        "5d 94 28 43 01 61 94 43 02 6263 94 65"  # list of two bytes objects
        "5d 94 88 61"  # list of True
        "86 94 2e"  # a pair of them
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_round_trip(tmp_path: Path, protocol: int) -> None:
    write_evalset(tmp_path / "a.bin", IMAGES, np.array(ISSAME).tolist(), protocol=protocol)
    assert_is_the_set(read_evalset(tmp_path / "a.bin"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "pair",
    [
        (IMAGES, ISSAME),
        [tuple(IMAGES), tuple(ISSAME)],
        (uint8_arrays(), np.array(ISSAME)),
        (uint8_arrays(column=True), list(np.array(ISSAME))),
        (uint8_arrays(), np.array(ISSAME).astype(">i8")),
        (list(map(np.copy, uint8_arrays())), list(np.array(ISSAME).astype(np.int32))),
    ],
    ids=["bytes", "tuples", "arrays", "columns", "integers", "copies"],
)
def test_sets_of_python_3(tmp_path: Path, pair: object, protocol: int) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(pair, protocol))
    assert_is_the_set(read_evalset(tmp_path / "a.bin"))


def test_bytearrays_of_protocol_5(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps((list(map(bytearray, IMAGES)), [1, 0]), 5))
    assert_is_the_set(read_evalset(tmp_path / "a.bin"))


def test_set_of_python_2_strings(tmp_path: Path) -> None:
    """Protocol 2 as cPickle wrote it: BINSTRING and SHORT_BINSTRING."""
    strings = b"".join(b"T" + struct.pack("<I", len(image)) + image for image in IMAGES[:3])
    strings += b"T" + struct.pack("<I", 256) + IMAGES[3]
    (tmp_path / "a.bin").write_bytes(b"\x80\x02](" + strings + b"e](\x88\x89e\x86.")
    assert_is_the_set(read_evalset(tmp_path / "a.bin"))


def test_set_of_python_2_arrays(tmp_path: Path) -> None:
    """numpy under Python 2: raw data as a string, `numpy.core` names."""

    def array(image: bytes) -> bytes:
        return (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
            b"(K\x01K" + bytes([len(image)]) + b"\x85cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(image)]) + image + b"tb"
        )

    content = b"\x80\x02](" + array(b"\xffa") + array(b"\x00bc") + b"e](\x88e\x86."
    (tmp_path / "a.bin").write_bytes(content)
    assert read_evalset(tmp_path / "a.bin").images == [b"\xffa", b"\x00bc"]


@pytest.mark.parametrize("shared", [b"shared", np.frombuffer(b"shared", np.uint8)], ids=["bytes", "array"])
def test_an_image_named_many_times_costs_memory_once(tmp_path: Path, bounded_memory: Any, shared: object) -> None:
    path = tmp_path / "a.bin"
    image = shared * 100_000 if isinstance(shared, bytes) else np.tile(np.asarray(shared), 100_000)
    path.write_bytes(pickle.dumps(([image] * 2000, [True] * 1000), 2))
    with bounded_memory(12 << 20):
        assert read_evalset(path).images == [b"shared" * 100_000] * 2000


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (Reduced(os.system, "exit 1"), r"it asks for posix.system"),
        (Reduced(eval, "1"), "it asks for builtins.eval|it asks for __builtin__.eval"),
        (Reduced(getattr, "a", "b"), "getattr"),
        (Reduced(bytes, 1 << 40), "bytes"),
        (Reduced(bytearray, 1 << 40), "bytearray"),
        (Reduced(np.zeros, 1 << 40), "zeros"),
        (Reduced(np.ndarray, (1 << 40,)), "takes no arguments|takes 1"),
        (Reduced(np.dtype, "O"), "arrays of type 'O'"),
        (collections.OrderedDict(a=1), "opcode SETITEM"),
        ({"a": 1}, "opcode EMPTY_DICT|opcode DICT"),
        ({1}, "opcode EMPTY_SET|set"),
        (1.5, "opcode BINFLOAT|opcode FLOAT"),
        (np.zeros(2), "arrays of type 'f8'"),
        (np.array([object()]), "object|NEWOBJ|arrays of type 'O8?'"),
        (Path("x"), "asks for pathlib"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_hostile_objects(
    tmp_path: Path, refused: Callable[..., FormatError], value: object, found: str, protocol: int
) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(pickle.dumps(([value, b"b"], [True]), protocol))
    refused(read_evalset, path, found)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "first byte b''"),
        (b"\xff\xd8\xff", "first byte"),
        (b"\x80\x02", "a pickle that fails"),
        (b"\x80\x09.", "a pickle that fails"),
        (b"(lp99999999\n.", "memo number 99999999"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "memo number 2147483647"),
        (b"\x80\x02]q\xff.", "memo number 255"),
        (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f].", "a frame of"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "a pickle that fails"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.", "a pickle that fails"),
        (b"\x80\x05\x96" + b"\xff" * 7 + b"\x7fabc.", "a pickle that fails"),
        (b"\x80\x02B\xff\xff\xff\xffabc.", "a pickle that fails"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "a pickle that fails"),
        (b"\x80\x02h\x07.", "a pickle that fails"),
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02Pid\n.", "opcode PERSID|first byte"),
        (b"\x80\x02(cos\nsystem\nU\x02lsi.", "opcode|fails"),
        (b"\x80\x02" + b"(" * 100_000 + b".", "a pickle that fails"),
        (b"\x80\x02N.", "a pickle that fails"),
        (b"\x80\x02]]]\x87.", "a pickle that fails"),
    ],
    ids=repr,
)
def test_hostile_bytes(tmp_path: Path, bounded_memory: Any, content: bytes, found: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(content)
    with bounded_memory(4 << 20), pytest.raises(FormatError, match=found) as caught:
        read_evalset(path)
    assert "lfw2pack" in caught.value.way_out


@pytest.mark.parametrize(
    ("pair", "found"),
    [
        (([b"a", b"b"], [True, False]), "2 images for 2 pairs"),
        (([b"a", None], [True]), "NoneType where bytes should be"),
        (([b"a", 1 << 40], [True]), "int where bytes should be"),
        (([b"a", [b"b"]], [True]), "list where bytes should be"),
        (([b"a", "\u0663"], [True]), "latin-1"),
        (([b"a", b"b"], [2]), "neither same nor different"),
        (([b"a", b"b"], [None]), "a pickle that fails"),
        (([b"a", b"b"], ["1"]), "a pickle that fails"),
        (([b"a", np.zeros(4, np.int32)], [True]), "array of int32"),
        (([b"a", np.zeros((2, 3), np.uint8)], [True]), "not one row or column"),
        ((7, [True]), "a pickle that fails"),
    ],
    ids=str,
)
def test_what_is_no_set(tmp_path: Path, refused: Callable[..., FormatError], pair: object, found: str) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(pickle.dumps(pair, 2))
    refused(read_evalset, path, found)


def test_an_array_that_lies_about_its_shape(tmp_path: Path, refused: Callable[..., FormatError]) -> None:
    path = tmp_path / "bad.bin"
    good = pickle.dumps(([np.zeros(77, np.uint8), b"b"], [True]), 2)
    assert good.count(b"KM") == 1
    path.write_bytes(good.replace(b"KM", b"J\xff\xff\xff\x7f"))
    refused(read_evalset, path, "shape")


def test_sets_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="3 images for 1 pairs"):
        write_evalset(tmp_path / "a.bin", [b"a", b"b", b"c"], [True])
    assert list(tmp_path.iterdir()) == []
