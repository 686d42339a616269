"""Nodes of a graph. They are immutable and point at their inputs, so graphs share whatever they have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mxface.ops import OpSpec, find_operator

VARIABLE = "null"
"""The `op` of a variable: an input, a parameter or an auxiliary state."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One output of a node. `version` is MXNet's: 1 where an operator writes the variable (an auxiliary state)."""

    node: Node
    index: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """An operator applied to inputs, or a variable. Two nodes are equal only if they are the same one."""

    op: str
    name: str
    attrs: dict[str, str] = field(default_factory=dict)
    inputs: tuple[Entry, ...] = ()

    @property
    def is_variable(self) -> bool:
        return self.op == VARIABLE

    @property
    def spec(self) -> OpSpec:
        """The operator; a variable has none."""
        return find_operator(self.op, self.name)

    @property
    def params(self) -> dict[str, Any]:
        """The operator's typed parameters, parsed anew at each call."""
        return self.spec.parse(self.attrs)

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}>"


def topological_order(heads: Iterable[Entry]) -> tuple[Node, ...]:
    """All nodes that the heads need, each after its inputs: depth-first, inputs in operand order, as MXNet writes them.

    Iterative, for graphs of any depth.
    """
    order: list[Node] = []
    done: set[Node] = set()
    for head in heads:
        stack = [(head.node, iter(head.node.inputs))]
        while stack:
            node, inputs = stack[-1]
            if node in done:
                stack.pop()
                continue
            for entry in inputs:
                if entry.node not in done:
                    stack.append((entry.node, iter(entry.node.inputs)))
                    break
            else:
                done.add(node)
                order.append(node)
                stack.pop()
    return tuple(order)


def auxiliary_states(nodes: Iterable[Node]) -> set[Node]:
    """The variables among these nodes' inputs that a training forward writes."""
    states: set[Node] = set()
    for node in nodes:
        if not node.is_variable and node.spec.aux:
            slots = node.spec.inputs(node.params)
            states.update(entry.node for slot, entry in zip(slots, node.inputs, strict=True) if slot in node.spec.aux)
    return states


def visible_outputs(node: Node) -> tuple[str, ...]:
    """The names by which the outputs of a node are asked for: `data`, `conv0_output`, `slice_output1`."""
    if node.is_variable:
        return (node.name,)
    return tuple(f"{node.name}_{output}" for output in node.spec.outputs(node.params))


def count_outputs(node: Node) -> int:
    """How many outputs a node has, those included that are never asked for."""
    if node.is_variable:
        return 1
    params = node.params
    return len(node.spec.outputs(params)) + node.spec.hidden_outputs(params)
