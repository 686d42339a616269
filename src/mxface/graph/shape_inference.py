"""Shapes of every array in a graph, from those of some variables.

Each operator's rule says what follows from what is known of its inputs, weights and labels included; the rules are
applied in topological order until nothing new follows. One pass does for the networks; loss graphs need a second one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mxface.errors import GraphError
from mxface.graph.node import Node
from mxface.ops import Shape
from mxface.ops.params import parse_ints
from mxface.ops.shapes import is_complete, merge_shapes

Shapes = dict[Node, list[Shape | None]]
"""Shapes of the visible outputs of each node."""


def infer_shapes(nodes: Sequence[Node], given: Mapping[str, Shape]) -> Shapes:
    """Shapes of all outputs of `nodes` (in topological order), from those of the variables named in `given`.

    Variables with a `__shape__` attribute bring their own. Raises GraphError naming the node where sizes do not fit, or
    a variable whose shape does not follow.
    """
    variables = variables_by_name(nodes)
    unknown = sorted(given.keys() - variables.keys())
    if unknown:
        raise GraphError(f"the graph has no variable {', '.join(unknown)}; it has {', '.join(variables)}")
    shapes: Shapes = {
        node: [_declared_shape(node, given)] if node.is_variable else [None] * len(node.outputs) for node in nodes
    }
    pending = [node for node in nodes if not node.is_variable]
    progress = True
    while pending and progress:
        progress = False
        for node in pending:
            progress |= _infer_node(node, shapes)
        pending = [node for node in pending if not _is_settled(node, shapes)]
    if pending:
        _refuse_unknown(pending[0], shapes)
    return shapes


def variables_by_name(nodes: Sequence[Node]) -> dict[str, Node]:
    """All variables in order. Raises GraphError when two bear one name: their values could not be told apart."""
    variables: dict[str, Node] = {}
    for node in nodes:
        if node.is_variable and variables.setdefault(node.name, node) is not node:
            raise GraphError(
                f"two variables are called {node.name!r}; give one another name, or pass the same one twice"
            )
    return variables


def _declared_shape(variable: Node, given: Mapping[str, Shape]) -> Shape | None:
    if variable.name in given:
        shape = tuple(int(size) for size in given[variable.name])
        if not all(size > 0 for size in shape):
            raise GraphError(f"shape {shape} of {variable.name!r} is not a tuple of positive sizes")
        return shape
    text = variable.attrs.get("__shape__")
    return parse_ints(text) or None if text else None


def _infer_node(node: Node, shapes: Shapes) -> bool:
    """Apply one rule; has anything new come out?"""
    known = {slot: shapes[entry.node][entry.index] for slot, entry in zip(node.slots, node.inputs, strict=True)}
    try:
        inference = node.spec.infer_shape(node.params, known)
        if inference is None:
            return False
        input_shapes, output_shapes = inference
        if any(size < 1 for shape in output_shapes for size in shape):
            raise GraphError(f"nothing would come out: {output_shapes}")
        progress = False
        for slot, entry in zip(node.slots, node.inputs, strict=True):
            progress |= _learn(shapes, entry.node, entry.index, input_shapes.get(slot))
        for index, shape in enumerate(output_shapes):
            progress |= _learn(shapes, node, index, shape)
    except GraphError as exc:
        inputs = ", ".join(f"{slot} {shape or 'unknown'}" for slot, shape in known.items())
        raise GraphError(f"{node.op} {node.name!r}: {exc} (its inputs: {inputs})") from exc
    return progress


def _learn(shapes: Shapes, node: Node, index: int, shape: Shape | None) -> bool:
    merged = merge_shapes(shapes[node][index], shape)
    changed = merged != shapes[node][index]
    shapes[node][index] = merged
    return changed


def _is_settled(node: Node, shapes: Shapes) -> bool:
    return all(map(is_complete, shapes[node])) and all(
        is_complete(shapes[entry.node][entry.index]) for entry in node.inputs
    )


def _refuse_unknown(node: Node, shapes: Shapes) -> None:
    for entry in node.inputs:
        if not is_complete(shapes[entry.node][entry.index]):
            name = entry.node.outputs[entry.index]
            raise GraphError(
                f"the shape of {name!r}, an input of {node.op} {node.name!r}, does not follow from what is "
                f"given; give the shapes of all data inputs, such as infer_shape(data=(1, 3, 112, 112))"
            )
    raise AssertionError(f"{node} has complete inputs and an unknown output")
