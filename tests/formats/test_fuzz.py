"""Damaged files: whatever is cut off, flipped or overwritten, readers give data or a FormatError, in little memory."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxface.errors import FormatError
from mxface.formats.dataset_property import read_property
from mxface.formats.evalset import _ADMITTED, read_evalset, write_evalset
from mxface.formats.lst import read_list
from mxface.formats.params import read_params, write_params
from mxface.formats.record_index import read_index, write_index
from mxface.formats.recordio import IRHeader, RecordReader, RecordWriter, pack, rebuild_index, unpack
from mxface.formats.symbol_json import JsonGraph, JsonNode, read_symbol, write_symbol

MEMORY = 2 << 20
INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 29, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
SAMPLES: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {}


def sample(reader: Callable[[Path], object]) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a function that writes a good file, with the reader that is to survive damaged ones."""

    def register(writer: Callable[[Path], None]) -> Callable[[Path], None]:
        SAMPLES[writer.__name__] = writer, reader
        return writer

    return register


def read_records(path: Path) -> None:
    with RecordReader(path) as reader:
        for _, payload in reader.scan():
            unpack(payload, str(path))


@sample(read_records)
def records(path: Path) -> None:
    with RecordWriter(path) as writer:
        for body in (b"jpeg", b"", b"1234" + bytes.fromhex("0a23d7ce") * 2 + b"x"):
            writer.write(pack(IRHeader(0, np.array([3, 1]), 7, 0), body))


@sample(rebuild_index)
def records_without_index(path: Path) -> None:
    records(path)


@sample(read_index)
def index(path: Path) -> None:
    write_index(path, [1, 2, 0], [0, 2892, 5392])


@sample(read_params)
def params(path: Path) -> None:
    arrays = {"arg:w": np.ones((2, 3), np.float32), "aux:m": np.zeros(3, np.uint8), "b": np.zeros(1, np.float16)}
    write_params(path, arrays)


@sample(read_params)
def params_of_2016(path: Path) -> None:
    array = struct.pack("<IIIiii", 2, 1, 2, 1, 0, 0) + bytes(8)
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 5) + b"arg:w")


@sample(read_symbol)
def symbol(path: Path) -> None:
    nodes = (JsonNode("null", "data", {}, ()), JsonNode("Convolution", "c", {"kernel": "(3, 3)"}, ((0, 0, 0),)))
    write_symbol(path, JsonGraph(nodes, ((1, 0, 0),), (0,), node_row_ptr=(0, 1, 2)))


@sample(read_evalset)
def evalset(path: Path) -> None:
    write_evalset(path, [b"\xff\xd8one", b"two", b"three", b"four"], [True, False])


@sample(read_evalset)
def evalset_of_protocol_2(path: Path) -> None:
    write_evalset(path, [b"\xff\xd8one", b"two"], [True], protocol=2)


@sample(read_evalset)
def evalset_of_arrays(path: Path) -> None:
    images = [np.arange(size, dtype=np.uint8) for size in (3, 5)]
    path.write_bytes(pickle.dumps((images, np.array([True])), 2))


@sample(lambda path: list(read_list(path)))
def image_list(path: Path) -> None:
    path.write_text("1\ta.jpg\t0\n0\tb.jpg\t1\t1\t2\t3\t4" + "\t1.5" * 10 + "\n")


@sample(read_property)
def dataset_property(path: Path) -> None:
    path.write_text("85742,112,112\n")


# Opcodes and names that the reader of verification sets admits, to be strung together in any order.
PICKLE_PIECES = [b"]", b"(", b")", b"N", b"\x88", b"K\x01", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f"]
PICKLE_PIECES += [b"U\x03abc", b"C\x03abc", b"X\x03\0\0\0abc", b"U\x02u1", b"U\x01b", b"U\x06latin1", b"U\x01<"]
PICKLE_PIECES += [
    b"a",
    b"e",
    b"l",
    b"t",
    b"R",
    b"b",
    b"\x85",
    b"\x86",
    b"\x87",
    b"q\0",
    b"q\1",
    b"h\0",
    b"h\1",
    b"\x94",
]
PICKLE_PIECES += [b"c%s\n%s\n" % (module.encode(), name.encode()) for module, name in _ADMITTED]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes, cut off, with bits flipped, numbers put over them or pieces taken out or doubled."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 16))
        match draw(st.sampled_from(["cut", "flip", "number", "remove", "double", "noise"])):
            case "cut":
                del data[at:]
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "number":
                layout = draw(st.sampled_from(["<B", "<H", "<I", "<Q"]))
                number = draw(st.sampled_from(INTERESTING)) & ((1 << 8 * struct.calcsize(layout)) - 1)
                data[at : at + struct.calcsize(layout)] = struct.pack(layout, number)
            case "remove":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "noise":
                data[at : at + length] = draw(st.binary(max_size=16))
    return bytes(data)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(tmp_path: Path, name: str, data: st.DataObject) -> None:
    writer, reader = SAMPLES[name]
    path = tmp_path / name
    writer(path)
    reader(path)
    bad = tmp_path / "bad"
    bad.write_bytes(data.draw(damaged(path.read_bytes())))
    check_survival(reader, bad)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PICKLE_PIECES), max_size=40))
def test_pickles_of_admitted_opcodes_in_any_order(tmp_path: Path, pieces: list[bytes]) -> None:
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"\x80\x02" + b"".join(pieces) + b".")
    check_survival(read_evalset, bad)


def check_survival(reader: Callable[[Path], object], bad: Path) -> None:
    """Data or a FormatError that names the file, in little memory."""
    tracemalloc.start()
    try:
        reader(bad)
    except FormatError as error:
        assert str(bad) in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY
