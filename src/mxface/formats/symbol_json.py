"""MXNet's graph files (`-symbol.json`) as plain data. What needs to know an operator is `mxface.graph`'s work.

An object of `nodes`, `arg_nodes` (numbers of the nodes with op "null"), `node_row_ptr` (running count of outputs; since
0.9) and `heads`, then graph attributes. A node has `op`, `name`, `attrs` (text to text; none if empty) and `inputs`,
each [node, output, version]. Older files spell `attrs` as `attr` or, to 0.8, `param` (with user attributes beside it in
`attr`), leave out the version, and carry `backward_source_id`. Nodes stand before their users.
"""

from __future__ import annotations

import itertools
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mxface.errors import FormatError
from mxface.formats.atomic import atomic_write

MAX_BYTES = 1 << 28
MXNET_VERSION = 10901
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
WAY_OUT = "save the graph again with MXNet or mxface"
Entry = tuple[int, int, int]


def _written_by_mxnet() -> dict[str, Any]:
    return {"mxnet_version": ["int", MXNET_VERSION]}


@dataclass(frozen=True)
class JsonNode:
    """One operator or variable (`op` "null"); `inputs` are (node, output, version)."""

    op: str
    name: str
    attrs: dict[str, str]
    inputs: tuple[Entry, ...]


@dataclass(frozen=True)
class JsonGraph:
    """A graph as the file has it; `node_row_ptr` is empty where the file has none."""

    nodes: tuple[JsonNode, ...]
    heads: tuple[Entry, ...]
    arg_nodes: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=_written_by_mxnet)
    node_row_ptr: tuple[int, ...] = ()


def read_symbol(path: str | os.PathLike[str]) -> JsonGraph:
    """Read a `-symbol.json` of any MXNet since 0.8."""
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise FormatError(path, f"{size} bytes", f"a graph of at most {MAX_BYTES}", way_out=WAY_OUT)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise FormatError(path, "bytes that are not UTF-8", "JSON text", offset=exc.start, way_out=WAY_OUT) from exc
    return parse_symbol(text, str(path))


def parse_symbol(text: str, source: str = "<string>") -> JsonGraph:
    """Read the JSON text of a graph; `source` names it in errors."""
    return _Parser(source).graph(text)


def write_symbol(path: str | os.PathLike[str], graph: JsonGraph) -> None:
    """Write a `-symbol.json` as MXNet does."""
    with atomic_write(path, "w") as file:
        file.write(format_symbol(graph))


def nodes_crc32(graph: JsonGraph) -> str:
    """8 hex digits, equal for graphs with equal nodes, whatever the order of their attributes."""
    nodes = []
    for node in graph.nodes:
        attrs = {"attrs": node.attrs} if node.attrs else {}
        nodes.append({"op": node.op, "name": node.name, "inputs": node.inputs, **attrs})
    return f"{zlib.crc32(json.dumps(nodes, sort_keys=True).encode()):08x}"


def format_symbol(graph: JsonGraph) -> str:
    """The text that MXNet's `tojson` gives for this graph, down to its blanks at line ends."""
    attrs = [f"{_quoted(key)}: {json.dumps(value)}" for key, value in sorted(graph.attrs.items())]
    members = [
        f'"nodes": {_lines("[", map(_format_node, graph.nodes), "]", 1)}',
        f'"arg_nodes": {_sequence(map(str, graph.arg_nodes), 1)}',
    ]
    if graph.node_row_ptr:
        members.append(f'"node_row_ptr": {_sequence(map(str, graph.node_row_ptr), 1)}')
    members.append(f'"heads": {_entries(graph.heads, 1)}')
    if attrs:
        members.append(f'"attrs": {_object(attrs, 1)}')
    return _lines("{", members, "}", 0)


def _format_node(node: JsonNode) -> str:
    members = [f'"op": {_quoted(node.op)}', f'"name": {_quoted(node.name)}']
    if node.attrs:
        attrs = [f"{_quoted(key)}: {_quoted(value)}" for key, value in sorted(node.attrs.items())]
        members.append(f'"attrs": {_object(attrs, 3)}')
    members.append(f'"inputs": {_entries(node.inputs, 3)}')
    return _lines("{", members, "}", 2)


def _entries(entries: Iterable[Entry], depth: int) -> str:
    return _sequence([f"[{node}, {output}, {version}]" for node, output, version in entries], depth)


def _object(members: list[str], depth: int) -> str:
    """MXNet breaks the lines of a map of two or more."""
    return _lines("{", members, "}", depth) if len(members) > 1 else "{" + "".join(members) + "}"


def _sequence(items: Iterable[str], depth: int) -> str:
    """MXNet breaks the lines of a list of eleven or more."""
    texts = list(items)
    return _lines("[", texts, "]", depth) if len(texts) > 10 else "[" + ", ".join(texts) + "]"


def _lines(opening: str, items: Iterable[str], closing: str, depth: int) -> str:
    """Items one a line, two blanks deeper than the brackets' `depth`."""
    margin = "\n" + "  " * depth
    inside = f", {margin}  ".join(items)
    return f"{opening}{margin}  {inside}{margin}{closing}" if inside else opening + closing


def _quoted(text: str) -> str:
    """MXNet escapes these five characters and no others."""
    return '"' + text.translate(_ESCAPES) + '"'


class _Parser:
    """Checks the JSON of one graph, member by member."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, where: str, found: object, expected: str) -> NoReturn:
        raise FormatError(self.source, f"{where} {found!r:.200}", expected, way_out=WAY_OUT)

    def graph(self, text: str) -> JsonGraph:
        try:
            members = json.loads(text, strict=False)
        except json.JSONDecodeError as exc:
            offset = len(text[: exc.pos].encode("utf-8", "surrogatepass"))
            raise FormatError(self.source, exc.msg, "JSON", offset=offset, way_out=WAY_OUT) from exc
        except (ValueError, RecursionError) as exc:
            raise FormatError(self.source, f"JSON that is absurd ({exc})", "a graph", way_out=WAY_OUT) from exc
        members = self.object("graph", members)
        nodes = tuple(
            self.node(number, self.object(f"node {number}", node))
            for number, node in enumerate(self.list("nodes", members.get("nodes")))
        )
        arg_nodes = tuple(
            self.node_number("arg_nodes", number, len(nodes))
            for number in self.list("arg_nodes", members.get("arg_nodes"))
        )
        for number in arg_nodes:
            if nodes[number].op != "null":
                self.fail("arg_nodes with", nodes[number].name, "variables only")
        heads = self.entries("heads", members.get("heads"), len(nodes))
        row_ptr = self.list("node_row_ptr", members.get("node_row_ptr", []))
        pointers = tuple(self.count("node_row_ptr", pointer) for pointer in row_ptr)
        if pointers and (len(pointers) != len(nodes) + 1 or any(a > b for a, b in itertools.pairwise(pointers))):
            self.fail("node_row_ptr", pointers[:8], f"{len(nodes) + 1} numbers that never fall")
        attrs = self.object("attrs", members.get("attrs", {}))
        return JsonGraph(nodes, heads, arg_nodes, attrs, pointers)

    def node(self, number: int, members: dict[str, Any]) -> JsonNode:
        where = f"node {number}:"
        name = self.text(f"{where} name", members.get("name"))
        where = f"node {number} ({name[:80]}):"
        for unsupported in ("control_deps", "subgraphs"):
            if members.get(unsupported):
                self.fail(f"{where} {unsupported}", members[unsupported], "none; control flow is not supported")
        attrs: dict[str, str] = {}
        for spelling in ("param", "attr", "attrs"):
            for key, value in self.object(f"{where} {spelling}", members.get(spelling, {})).items():
                attrs[key] = self.text(f"{where} {spelling} {key}", value)
        op = self.text(f"{where} op", members.get("op"))
        inputs = self.entries(f"{where} inputs", members.get("inputs"), number)
        return JsonNode(op, name, attrs, inputs)

    def entries(self, where: str, value: object, node_count: int) -> tuple[Entry, ...]:
        return tuple(self.entry(where, entry, node_count) for entry in self.list(where, value))

    def entry(self, where: str, value: object, node_count: int) -> Entry:
        """[node, output] or [node, output, version], of a node below `node_count`."""
        numbers = self.list(where, value)
        if len(numbers) not in (2, 3):
            self.fail(where, value, "[node, output] or [node, output, version]")
        node, output, version = [*numbers, 0][:3]
        return self.node_number(where, node, node_count), self.count(where, output), self.count(where, version)

    def node_number(self, where: str, value: object, end: int) -> int:
        number = self.count(where, value)
        if number >= end:
            self.fail(where, value, f"the number of an earlier node, below {end}")
        return number

    def count(self, where: str, value: object) -> int:
        if type(value) is not int or not 0 <= value < 1 << 31:
            self.fail(where, value, "a whole number from 0")
        return value

    def text(self, where: str, value: object) -> str:
        if not isinstance(value, str):
            self.fail(where, value, "text")
        return value

    def list(self, where: str, value: object) -> Sequence[object]:
        if not isinstance(value, list):
            self.fail(where, value, "a list")
        return value

    def object(self, where: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(where, value, "an object")
        return value
