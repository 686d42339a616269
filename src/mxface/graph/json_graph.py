"""Between nodes and the neutral graph of a `-symbol.json`; older files are brought up to date, as MXNet does too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from mxface.errors import GraphError
from mxface.formats.symbol_json import JsonGraph, JsonNode
from mxface.graph.composition import HIDDEN_KEYS, input_variable, note_initializer
from mxface.graph.node import VARIABLE, Entry, Node
from mxface.ops import OpSpec, find_operator


def graph_to_json(nodes: Sequence[Node], heads: Sequence[Entry]) -> JsonGraph:
    """`nodes` in topological order."""
    position = {node: index for index, node in enumerate(nodes)}

    def place(entry: Entry) -> tuple[int, int, int]:
        return position[entry.node], entry.index, entry.version

    return JsonGraph(
        nodes=tuple(JsonNode(node.op, node.name, dict(node.attrs), tuple(map(place, node.inputs))) for node in nodes),
        heads=tuple((position[head.node], head.index, 0) for head in heads),
        arg_nodes=tuple(index for index, node in enumerate(nodes) if node.is_variable),
        node_row_ptr=tuple(accumulate((node.num_outputs for node in nodes), initial=0)),
    )


def nodes_from_json(graph: JsonGraph) -> tuple[list[Node], list[Entry]]:
    """All nodes of the file, and its heads, which need not reach all of them.

    Raises UnsupportedOperatorError for an operator that is not here, GraphError for inputs that do not fit one.
    """
    nodes: list[Node] = []
    for json_node in graph.nodes:
        inputs = [_entry(nodes, place, json_node.name) for place in json_node.inputs]
        nodes.append(_node_from_json(json_node, inputs))
    return nodes, [_entry(nodes, place, "heads") for place in graph.heads]


def _entry(nodes: Sequence[Node], place: tuple[int, int, int], user: str) -> Entry:
    index, output, version = place
    node = nodes[index]
    if output >= len(node.outputs):
        raise GraphError(f"{user!r} uses output {output} of {node}, which has {len(node.outputs)}")
    return Entry(node, output, version)


def _node_from_json(json_node: JsonNode, inputs: list[Entry]) -> Node:
    name = json_node.name
    attrs = {f"__{key}__" if key in HIDDEN_KEYS else key: text for key, text in json_node.attrs.items()}
    if json_node.op == VARIABLE:
        return Node(VARIABLE, name, attrs)
    spec = find_operator(json_node.op, name)
    own, of_inputs = _split_input_attributes(spec, attrs)
    try:
        slots = spec.inputs(spec.parse(own))
    except GraphError as exc:
        raise GraphError(f"node {name!r}: {exc}") from exc
    if len(inputs) > len(slots):
        raise GraphError(f"node {name!r}: {spec.name} takes {len(slots)} inputs here, not {len(inputs)}")
    left_out = slots[len(inputs) :]  # moving averages before 0.9, and sometimes labels
    inputs = [*inputs, *(Entry(input_variable(spec, slot, name, own)) for slot in left_out)]
    for slot, entry in zip(slots, inputs, strict=True):
        if entry.node.is_variable:
            entry.node.attrs.update(of_inputs.get(slot, {}))
            note_initializer(entry.node, spec, slot)
    return Node(spec.name, name, own, tuple(inputs))


def _split_input_attributes(spec: OpSpec, attrs: Mapping[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """A node's own attributes, and those of its inputs, which old files note on it as `weight_lr_mult`."""
    own: dict[str, str] = {}
    of_inputs: dict[str, dict[str, str]] = {}
    for key, text in attrs.items():
        slot, hidden = next(
            ((key.removesuffix(f"_{hidden}"), hidden) for hidden in HIDDEN_KEYS if key.endswith(f"_{hidden}")), ("", "")
        )
        if slot in spec.slots:
            of_inputs.setdefault(slot, {})[f"__{hidden}__"] = text
        else:
            own[key] = text
    return own, of_inputs
