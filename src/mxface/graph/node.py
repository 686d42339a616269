"""Nodes of a graph. They point at their inputs and never change, so graphs share whatever they have in common.

(One exception, MXNet's: an operator may note an initialiser on a variable that is passed to it.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from mxface.ops import OpSpec, Params, find_operator

VARIABLE = "null"
"""The `op` of a variable: an input, a parameter or an auxiliary state."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One output of a node. `version` is MXNet's: 1 where an operator writes the variable (an auxiliary state)."""

    node: Node
    index: int = 0
    version: int = 0


@dataclass(frozen=True, eq=False, repr=False)
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

    @cached_property
    def params(self) -> Params:
        """The operator's typed parameters, defaults filled in."""
        return MappingProxyType(self.spec.parse(self.attrs))

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """What the inputs are called: `data`, `weight`, …"""
        return self.spec.inputs(self.params)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names by which the outputs are asked for: `data`, `conv0_output`, `slice_output1`."""
        if self.is_variable:
            return (self.name,)
        return tuple(f"{self.name}_{output}" for output in self.spec.outputs(self.params))

    @property
    def num_outputs(self) -> int:
        """How many outputs there are, those included that are never asked for."""
        return len(self.outputs) + (0 if self.is_variable else self.spec.hidden_outputs(self.params))

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
            slots = zip(node.slots, node.inputs, strict=True)
            states.update(entry.node for slot, entry in slots if slot in node.spec.aux)
    return states
