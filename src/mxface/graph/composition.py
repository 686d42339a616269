"""Making nodes the way MXNet does: attributes as given, missing inputs created, automatic names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mxface.errors import GraphError
from mxface.graph.naming import automatic_name
from mxface.graph.node import VARIABLE, Entry, Node
from mxface.ops import OpSpec, find_operator

HIDDEN_KEYS = frozenset({"ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage"})
"""Keywords that are no operator's parameters; MXNet keeps them as `__lr_mult__` and so on."""


def name_arguments(spec: OpSpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call by slot or parameter; positional ones are the slots in order, then the parameters."""
    if spec.count_param is not None:
        places = tuple(f"arg{i}" for i in range(len(args)))
    else:
        places = (*spec.slots, *spec.params)
    if len(args) > len(places):
        raise GraphError(f"{spec.name} takes {len(places)} arguments ({', '.join(places)}), not {len(args)}")
    named = dict(zip(places, args, strict=False))
    twice = named.keys() & kwargs.keys()
    if twice:
        raise GraphError(f"{spec.name} is given {', '.join(sorted(twice))} twice")
    return named | dict(kwargs)


def compose_node(function: str, inputs: Mapping[str, Entry], attrs: Mapping[str, str], name: str | None) -> Node:
    """One operator node. Inputs that are not given become variables `<name>_<slot>`.

    Raises GraphError for inputs or attributes that the operator does not have.
    """
    spec = find_operator(function, name or "")
    attrs = {f"__{key}__" if key in HIDDEN_KEYS else key: text for key, text in attrs.items()}
    if spec.count_param is not None:
        attrs.setdefault(spec.count_param, str(len(inputs)))
    name = automatic_name(name, function.lower())
    try:
        slots = spec.inputs(spec.parse(attrs))
        if unknown := sorted(inputs.keys() - set(slots)):
            raise GraphError(f"{spec.name} has no input {', '.join(unknown)} here; it has {', '.join(slots)}")
        return Node(spec.name, name, attrs, tuple(_input(spec, slot, inputs.get(slot), name, attrs) for slot in slots))
    except GraphError as exc:
        raise GraphError(f"node {name!r}: {exc}") from exc


def input_variable(spec: OpSpec, slot: str, name: str, attrs: Mapping[str, str]) -> Node:
    """The variable that stands in for an input that was not given: it repeats the attributes of its node."""
    variable = Node(VARIABLE, f"{name}_{slot}", dict(attrs))
    note_initializer(variable, spec, slot)
    return variable


def note_initializer(variable: Node, spec: OpSpec, slot: str) -> None:
    """Let the operator say how the variable in this slot begins, unless that is said already.

    MXNet does so on variables that the caller made, too.
    """
    if slot in spec.initializers:
        variable.attrs.setdefault("__init__", spec.initializers[slot])


def _input(spec: OpSpec, slot: str, entry: Entry | None, name: str, attrs: Mapping[str, str]) -> Entry:
    if entry is None:
        entry = Entry(input_variable(spec, slot, name, attrs))
    elif entry.node.is_variable:
        note_initializer(entry.node, spec, slot)
    if slot not in spec.aux:
        return entry
    if not entry.node.is_variable:
        raise GraphError(f"{slot} of {spec.name} is a state that it writes; it must be a variable")
    return replace(entry, version=1)
