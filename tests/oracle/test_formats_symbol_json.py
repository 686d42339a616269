"""The graphs of the 2019 networks, as MXNet wrote them, and those of the real models, old spellings included."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.support import ASSETS, ORACLE

from mxface.formats.symbol_json import format_symbol, nodes_crc32, parse_symbol, read_symbol

NETWORKS = sorted((ORACLE / "networks").glob("*/*.symbol.json.gz"))
MODELS = sorted(ASSETS.glob("*/*-symbol.json"))


def case_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name.split('.symbol.json')[0]}"


def read_text(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def test_the_oracle_has_networks(oracle: Path) -> None:
    assert NETWORKS, f"{oracle}/networks holds no *.symbol.json.gz"


def test_the_assets_have_models(assets: Path) -> None:
    assert MODELS, f"{assets} holds no *-symbol.json"


@pytest.mark.parametrize("path", NETWORKS, ids=case_name)
def test_network_reads_and_writes_as_it_is(path: Path) -> None:
    text = read_text(path)
    graph = parse_symbol(text, str(path))
    assert format_symbol(graph) == text
    stem = path.with_name(path.name.removesuffix(".symbol.json.gz"))
    (facts_path,) = path.parent.glob(f"{stem.name}.facts.json*")
    facts = json.loads(read_text(facts_path))
    assert nodes_crc32(graph) == facts["symbol_crc32_of_nodes"]
    assert len(graph.nodes) == facts["num_nodes"]
    assert sum(node.op != "null" for node in graph.nodes) == facts["num_op_nodes"]


@pytest.mark.parametrize("path", MODELS, ids=case_name)
def test_model_survives_being_written_again(path: Path) -> None:
    graph = read_symbol(path)
    stored = json.loads(path.read_text())
    assert [node.name for node in graph.nodes] == [node["name"] for node in stored["nodes"]]
    assert [[list(entry[:2]) for entry in node.inputs] for node in graph.nodes] == [
        [entry[:2] for entry in node["inputs"]] for node in stored["nodes"]
    ]
    assert any(node.attrs for node in graph.nodes)
    assert parse_symbol(format_symbol(graph)) == graph
