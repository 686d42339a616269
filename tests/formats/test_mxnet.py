"""Our files against those of the real MXNet, byte for byte and read both ways."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mxface.formats.params import DTYPES, read_params, write_params
from mxface.formats.recordio import IndexedRecordReader, IndexedRecordWriter, IRHeader, pack, rebuild_index, unpack
from mxface.formats.symbol_json import format_symbol, parse_symbol, read_symbol, write_symbol

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore")]  # MXNet 1.9.1 uses what NumPy deprecates


@pytest.fixture(scope="module")
def mx() -> ModuleType:
    import mxnet

    return mxnet


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """One array of every type, odd sizes first so that later ones are not aligned."""
    rng = np.random.default_rng(3)
    return {f"arg:{name[-2:]}": (rng.random((3, 1, 5)) * 100).astype(name) for name in sorted(DTYPES.values())}


def test_params_are_the_same_bytes(mx: ModuleType, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    mx.nd.save(str(tmp_path / "theirs"), {key: mx.nd.array(array, dtype=array.dtype) for key, array in arrays.items()})
    write_params(tmp_path / "ours", arrays)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_params_load_both_ways(mx: ModuleType, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    write_params(tmp_path / "ours", arrays)
    theirs = {key: array.asnumpy() for key, array in mx.nd.load(str(tmp_path / "ours")).items()}
    for read in (theirs, read_params(tmp_path / "ours")):
        assert list(read) == list(arrays)
        for key, array in arrays.items():
            assert read[key].dtype == array.dtype
            np.testing.assert_array_equal(read[key], array)


def test_params_of_numpy_semantics(mx: ModuleType, tmp_path: Path) -> None:
    shapes = {"scalar": (), "empty": (0, 3), "plain": (2, 3)}
    mx.npx.set_np()
    try:
        mx.npx.save(str(tmp_path / "v3"), {name: mx.np.ones(shape) for name, shape in shapes.items()})
    finally:
        mx.npx.reset_np()
    read = read_params(tmp_path / "v3")
    assert {name: array.shape for name, array in read.items()} == shapes
    assert all((array == 1).all() for array in read.values())


def test_empty_params(mx: ModuleType, tmp_path: Path) -> None:
    mx.nd.save(str(tmp_path / "theirs"), {})
    write_params(tmp_path / "ours", {})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert read_params(tmp_path / "theirs") == {}


def test_symbols_are_the_same_text(mx: ModuleType, tmp_path: Path) -> None:
    data = mx.sym.Variable('d"a\\t\na', lr_mult=2.0, init=mx.init.Normal(0.01))
    body = mx.sym.BatchNorm(mx.sym.Convolution(data, kernel=(3, 3), num_filter=4, name="é"), name="bn")
    ten, eleven = (mx.sym.Concat(*[body * number for number in range(count)]) for count in (10, 11))
    groups = [mx.sym.Group([body] * 10), mx.sym.Group([body] * 11), eleven.get_internals()]
    for symbol in (data, body, ten, eleven, *groups):
        text = symbol.tojson()
        graph = parse_symbol(text)
        assert format_symbol(graph) == text
        write_symbol(tmp_path / "ours.json", graph)
        assert mx.sym.load(str(tmp_path / "ours.json")).tojson() == text
        symbol.save(str(tmp_path / "theirs.json"))
        assert read_symbol(tmp_path / "theirs.json") == graph


def test_records_are_the_same_bytes(mx: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pieces = [b"\x0a\x23\xd7\xce", b"abc", b"abcd", b"\0", rng.bytes(300)]
    bodies = [b"".join(pieces[i] for i in rng.integers(0, 5, count)) for count in rng.integers(0, 9, 60)]
    labels = [float(i) if i % 3 else np.arange(i % 7 + 1, dtype=np.float32) for i in range(60)]
    theirs = mx.recordio.MXIndexedRecordIO(str(tmp_path / "theirs.idx"), str(tmp_path / "theirs.rec"), "w")
    with IndexedRecordWriter(tmp_path / "ours.rec") as ours:
        for i, (label, body) in enumerate(zip(labels, bodies, strict=True)):
            payload = pack(IRHeader(5, label, i * 3, i), body)
            assert payload == mx.recordio.pack(mx.recordio.IRHeader(5, label, i * 3, i), body)
            theirs.write_idx(i * 3, payload)
            ours.write(i * 3, payload)
    theirs.close()
    for ending in (".rec", ".idx"):
        assert (tmp_path / f"ours{ending}").read_bytes() == (tmp_path / f"theirs{ending}").read_bytes()

    keys, offsets = rebuild_index(tmp_path / "theirs.rec")
    theirs = mx.recordio.MXIndexedRecordIO(str(tmp_path / "ours.idx"), str(tmp_path / "ours.rec"), "r")
    with IndexedRecordReader(tmp_path / "theirs.rec") as ours:
        assert ours.keys.tolist() == keys.tolist() == list(theirs.keys)
        assert ours.offsets.tolist() == offsets.tolist()
        for key, label, body in zip(theirs.keys, labels, bodies, strict=True):
            payload = theirs.read_idx(key)
            assert bytes(ours.read(key)) == payload
            header, read_body = unpack(ours.read(key))
            their_header, their_body = mx.recordio.unpack(payload)
            assert (header.flag, header.id, header.id2) == (their_header.flag, their_header.id, their_header.id2)
            np.testing.assert_array_equal(np.asarray(header.label), np.asarray(label))
            assert bytes(read_body) == their_body == body
    theirs.close()
