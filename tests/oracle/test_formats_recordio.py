"""Record files that the 2019 tools wrote through real MXNet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support import ORACLE

from mxface.formats.dataset_property import read_property, write_property
from mxface.formats.lst import format_line, read_list
from mxface.formats.record_index import read_index, write_index
from mxface.formats.recordio import (
    IndexedRecordReader,
    IndexedRecordWriter,
    IRHeader,
    RecordReader,
    RecordWriter,
    pack,
    rebuild_index,
    unpack,
)

REC = ORACLE / "runs" / "rec"
DATA_SETS = sorted(path.parent for path in REC.glob("**/train.rec"))


def test_the_oracle_has_data_sets(oracle: Path) -> None:
    assert DATA_SETS, f"{oracle}/runs/rec holds no train.rec"


def data_set_name(folder: Path) -> str:
    return folder.name


@pytest.fixture
def edge(oracle: Path) -> dict[str, Any]:
    """Payloads with the magic in every position, and headers of every kind."""
    return json.loads((oracle / "runs" / "rec" / "edge" / "edge.json").read_text())


def test_edge_payloads_are_read(edge: dict[str, Any]) -> None:
    expected = [bytes.fromhex(text) for text in edge["read_back_hex"]]
    assert len(expected) == len(edge["order"]) >= 15
    with RecordReader(REC / "edge" / "edge.rec") as reader:
        scanned = list(reader.scan())
        assert [bytes(payload) for _, payload in scanned] == expected
        assert [bytes(reader.read_at(offset)) for offset, _ in reversed(scanned)] == expected[::-1]


def test_edge_payloads_are_written(edge: dict[str, Any], tmp_path: Path) -> None:
    """From the bytes that went in where the oracle has them, and from headers packed again for the rest."""
    written = [bytes.fromhex(text) for text in edge["written_hex"]]
    for text in edge["read_back_hex"][len(written) :]:
        header, body = unpack(bytes.fromhex(text))
        written.append(pack(IRHeader(9, header.label, header.id, header.id2), bytes(body)))
    with RecordWriter(tmp_path / "edge.rec") as writer:
        for payload in written:
            writer.write(payload)
    assert (tmp_path / "edge.rec").read_bytes() == (REC / "edge" / "edge.rec").read_bytes()


@pytest.mark.parametrize("folder", DATA_SETS, ids=data_set_name)
def test_records_are_read(folder: Path) -> None:
    records = json.loads((folder / "train_records.json").read_text())
    with IndexedRecordReader(folder / "train.rec") as reader:
        assert len(reader) == len(records) > 0
        for position, expected in enumerate(records):
            assert reader.keys[position] == expected["key"]
            assert reader.offsets[position] == expected["pos"]
            payload = reader.read(expected["key"])
            assert payload == reader.read_position(position)
            header, body = unpack(payload)
            assert (header.flag, header.id, header.id2) == (expected["flag"], expected["id"], expected["id2"])
            assert np.asarray(header.label).tolist() == expected["label"]
            assert len(body) == expected["nbytes"]
            assert hashlib.md5(body).hexdigest() == expected["md5"]


@pytest.mark.parametrize("folder", DATA_SETS, ids=data_set_name)
def test_records_are_written(folder: Path, tmp_path: Path) -> None:
    with IndexedRecordReader(folder / "train.rec") as reader, IndexedRecordWriter(tmp_path / "train.rec") as writer:
        for key in reader.keys.tolist():
            header, body = unpack(reader.read(key))
            writer.write(key, pack(header, bytes(body)))
    assert (tmp_path / "train.rec").read_bytes() == (folder / "train.rec").read_bytes()
    assert (tmp_path / "train.idx").read_bytes() == (folder / "train.idx").read_bytes()


@pytest.mark.parametrize("folder", DATA_SETS, ids=data_set_name)
def test_index_is_rebuilt(folder: Path, tmp_path: Path) -> None:
    write_index(tmp_path / "train.idx", *rebuild_index(folder / "train.rec"))
    assert (tmp_path / "train.idx").read_bytes() == (folder / "train.idx").read_bytes()
    write_index(tmp_path / "again.idx", *read_index(folder / "train.idx"))
    assert (tmp_path / "again.idx").read_bytes() == (folder / "train.idx").read_bytes()


@pytest.mark.parametrize("folder", DATA_SETS, ids=data_set_name)
def test_lists_and_properties_survive_being_written_again(folder: Path, tmp_path: Path) -> None:
    lines = "".join(f"{format_line(item)}\n" for item in read_list(folder / "train.lst"))
    assert lines == (folder / "train.lst").read_text()
    write_property(tmp_path, read_property(folder))
    assert (tmp_path / "property").read_bytes() == (folder / "property").read_bytes()
