from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxface.errors import FormatError
from mxface.formats.symbol_json import (
    JsonGraph,
    JsonNode,
    format_symbol,
    nodes_crc32,
    parse_symbol,
    read_symbol,
    write_symbol,
)

# MXNet puts a blank after the comma at a line's end.
TEXT_OF_MXNET = """{
  "nodes": [
    {
      "op": "null", |
      "name": "data", |
      "inputs": []
    }, |
    {
      "op": "_mul_scalar", |
      "name": "_mulscalar0", |
      "attrs": {"scalar": "0.5"}, |
      "inputs": [[0, 0, 0]]
    }, |
    {
      "op": "Concat", |
      "name": "concat0", |
      "attrs": {
        "dim": "1", |
        "num_args": "2"
      }, |
      "inputs": [[1, 0, 0], [0, 0, 0]]
    }
  ], |
  "arg_nodes": [0], |
  "node_row_ptr": [0, 1, 2, 3], |
  "heads": [[2, 0, 0]], |
  "attrs": {"mxnet_version": ["int", 10901]}
}""".replace("|", "")

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ATTRS = st.dictionaries(NAMES, NAMES, max_size=3)


@st.composite
def graphs(draw: st.DrawFn) -> JsonGraph:
    nodes: list[JsonNode] = []
    for number in range(draw(st.integers(1, 14))):
        entries = st.tuples(st.integers(0, max(number - 1, 0)), st.integers(0, 2), st.integers(0, 1))
        inputs = draw(st.lists(entries, max_size=12 if number else 0))
        nodes.append(JsonNode("op" if inputs else "null", draw(NAMES), draw(ATTRS), tuple(inputs)))
    variables = tuple(number for number, node in enumerate(nodes) if node.op == "null")
    head_entries = st.tuples(st.integers(0, len(nodes) - 1), st.just(0), st.just(0))
    heads = tuple(draw(st.lists(head_entries, min_size=1, max_size=12)))
    row_ptr = tuple(range(len(nodes) + 1)) if draw(st.booleans()) else ()
    return JsonGraph(tuple(nodes), heads, variables, node_row_ptr=row_ptr)


def document(**changes: Any) -> dict[str, Any]:
    """A small good graph, changed."""
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "Flatten", "name": "flat", "inputs": [[0, 0, 0]]},
    ]
    return {"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]], **changes}


def node(**changes: Any) -> list[dict[str, Any]]:
    """The nodes of a small good graph, the second changed."""
    first, second = document()["nodes"]
    return [first, {**second, **changes}]


def test_literal_text() -> None:
    graph = parse_symbol(TEXT_OF_MXNET)
    assert graph.nodes[2] == JsonNode("Concat", "concat0", {"dim": "1", "num_args": "2"}, ((1, 0, 0), (0, 0, 0)))
    assert (graph.heads, graph.arg_nodes, graph.node_row_ptr) == (((2, 0, 0),), (0,), (0, 1, 2, 3))
    assert graph.attrs == {"mxnet_version": ["int", 10901]}
    assert format_symbol(graph) == TEXT_OF_MXNET


def test_crc_is_of_the_sorted_nodes() -> None:
    nodes = json.loads(TEXT_OF_MXNET)["nodes"]
    expected = f"{zlib.crc32(json.dumps(nodes, sort_keys=True).encode()):08x}"
    assert nodes_crc32(parse_symbol(TEXT_OF_MXNET)) == expected


@given(graphs())
@settings(deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, graph: JsonGraph) -> None:
    path = tmp_path_factory.getbasetemp() / "round-symbol.json"
    write_symbol(path, graph)
    assert read_symbol(path) == graph


def test_lists_of_eleven_are_broken_into_lines() -> None:
    nodes = (JsonNode("null", "data", {}, ()), JsonNode("add_n", "sum", {}, ((0, 0, 0),) * 11))
    text = format_symbol(JsonGraph(nodes, ((1, 0, 0),) * 10, (0,), attrs={}))
    assert '"inputs": [\n        [0, 0, 0], \n        [0, 0, 0]' in text
    assert "[0, 0, 0]\n      ]\n    }" in text
    assert '"heads": [[1, 0, 0], [1, 0, 0]' in text
    assert text.endswith("]]\n}")


@pytest.mark.parametrize("spelling", ["param", "attr", "attrs"])
def test_every_spelling_of_attributes(spelling: str) -> None:
    graph = parse_symbol(json.dumps(document(nodes=node(**{spelling: {"scalar": "1"}}))))
    assert graph.nodes[1].attrs == {"scalar": "1"}


def test_a_file_of_mxnet_0_8() -> None:
    nodes = [
        {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
        {
            "op": "Convolution",
            "param": {"kernel": "(3,3)"},
            "name": "conv",
            "inputs": [[0, 0]],
            "backward_source_id": -1,
            "attr": {"lr_mult": "2"},
        },
    ]
    graph = parse_symbol(json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0]]}))
    assert graph.nodes[1] == JsonNode("Convolution", "conv", {"kernel": "(3,3)", "lr_mult": "2"}, ((0, 0, 0),))
    assert (graph.heads, graph.node_row_ptr, graph.attrs) == (((1, 0, 0),), (), {})


def test_text_that_mxnet_escapes() -> None:
    graph = JsonGraph((JsonNode("null", 'a"\\\n\r\té', {}, ()),), ((0, 0, 0),), (0,))
    assert '"name": "a\\"\\\\\\n\\r\\té"' in format_symbol(graph)
    assert parse_symbol(format_symbol(graph)) == graph


def test_a_very_deep_graph() -> None:
    nodes = [JsonNode("null", "data", {}, ())]
    nodes += [JsonNode("Flatten", f"flat{number}", {}, ((number, 0, 0),)) for number in range(30_000)]
    graph = JsonGraph(tuple(nodes), ((30_000, 0, 0),), (0,))
    assert parse_symbol(format_symbol(graph)) == graph


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ([], "graph"),
        ({}, "nodes None"),
        (document(nodes={}), "nodes {}"),
        (document(nodes=[7]), "node 0"),
        (document(nodes=node(op=None)), r"node 1 \(flat\): op None"),
        (document(nodes=node(name=3)), "node 1: name 3"),
        (document(nodes=node(attrs=[])), r"node 1 \(flat\): attrs"),
        (document(nodes=node(attrs={"a": 1})), r"node 1 \(flat\): attrs a 1"),
        (document(nodes=node(inputs=None)), r"node 1 \(flat\): inputs None"),
        (document(nodes=node(inputs=[[1, 0, 0]])), r"node 1 \(flat\): inputs 1"),  # itself: a cycle
        (document(nodes=node(inputs=[[2, 0, 0]])), r"node 1 \(flat\): inputs 2"),  # a later one
        (document(nodes=node(inputs=[[-1, 0, 0]])), r"node 1 \(flat\): inputs -1"),
        (document(nodes=node(inputs=[[0, -1, 0]])), r"node 1 \(flat\): inputs -1"),
        (document(nodes=node(inputs=[[0]])), r"node 1 \(flat\): inputs \[0\]"),
        (document(nodes=node(inputs=[[0, 0, 0, 0]])), r"node 1 \(flat\): inputs \[0, 0, 0, 0\]"),
        (document(nodes=node(inputs=[[True, 0, 0]])), r"node 1 \(flat\): inputs True"),
        (document(nodes=node(inputs=[[0.0, 0, 0]])), r"node 1 \(flat\): inputs 0.0"),
        (document(nodes=node(inputs=[["0", 0, 0]])), r"node 1 \(flat\): inputs '0'"),
        (document(nodes=node(control_deps=[0])), "control_deps"),
        (document(nodes=node(subgraphs=[{}])), "subgraphs"),
        (document(heads=[[2, 0, 0]]), "heads 2"),
        (document(heads="x"), "heads 'x'"),
        (document(arg_nodes=[2]), "arg_nodes 2"),
        (document(arg_nodes=[1]), "arg_nodes with 'flat'"),
        (document(node_row_ptr=[0, 1]), "node_row_ptr"),
        (document(node_row_ptr=[0, 2, 1]), "node_row_ptr"),
        (document(attrs=[]), r"attrs \[\]"),
    ],
)
def test_bad_graphs(tmp_path: Path, refused: Callable[..., FormatError], broken: Any, found: str) -> None:
    path = tmp_path / "bad-symbol.json"
    path.write_text(json.dumps(broken))
    assert refused(read_symbol, path, found).way_out


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"", 0),
        (b"\xff", 0),
        (b'{"nodes": [', 11),
        ('{"é": }'.encode(), 7),
        (b"[" * 100_000, None),
        (b'{"nodes": ' + b"9" * 5000 + b"}", None),
    ],
    ids=str,
)
def test_bad_text(tmp_path: Path, content: bytes, offset: int | None) -> None:
    path = tmp_path / "bad-symbol.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"bad-symbol\.json") as caught:
        read_symbol(path)
    assert caught.value.offset == offset


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "windows-symbol.json"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT_OF_MXNET.encode())
    assert len(read_symbol(path).nodes) == 3


def test_absurdly_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mxface.formats.symbol_json.MAX_BYTES", 100)
    path = tmp_path / "large-symbol.json"
    path.write_text(TEXT_OF_MXNET)
    with pytest.raises(FormatError, match="a graph of at most 100"):
        read_symbol(path)
