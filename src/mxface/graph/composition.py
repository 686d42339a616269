"""Making nodes the way MXNet does: attributes as given, missing inputs created, automatic names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mxface.errors import GraphError
from mxface.graph.naming import automatic_name
from mxface.graph.node import VARIABLE, Entry, Node
from mxface.ops import OpSpec, find_operator

HIDDEN_KEYS = frozenset({"ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage"})
"""Keywords that are no operator's parameters; MXNet keeps them as `__lr_mult__` and so on."""


def compose_node(
    function: str,
    positional: Sequence[Entry],
    by_slot: Mapping[str, Entry],
    attrs: Mapping[str, str],
    name: str | None,
) -> Node:
    """One operator node. Inputs that are not given become variables `<name>_<slot>`.

    Raises GraphError for inputs or attributes that the operator does not have.
    """
    spec = find_operator(function, name or "")
    attrs = {f"__{key}__" if key in HIDDEN_KEYS else key: text for key, text in attrs.items()}
    if spec.count_param is not None and spec.count_param not in attrs:
        attrs[spec.count_param] = str(len(positional) + len(by_slot))
    name = automatic_name(name, function.lower())
    try:
        slots = spec.inputs(spec.parse(attrs))
        given = _inputs_by_slot(spec, slots, positional, by_slot)
    except GraphError as exc:
        raise GraphError(f"node {name!r}: {exc}") from exc
    inputs = tuple(_versioned(spec, slot, given.get(slot), name, attrs) for slot in slots)
    return Node(spec.name, name, attrs, inputs)


def input_variable(spec: OpSpec, slot: str, name: str, attrs: Mapping[str, str]) -> Node:
    """The variable that stands in for an input that was not given: it repeats the attributes of its node."""
    init = {"__init__": spec.initializers[slot]} if slot in spec.initializers else {}
    return Node(VARIABLE, f"{name}_{slot}", {**attrs, **init})


def _inputs_by_slot(
    spec: OpSpec, slots: Sequence[str], positional: Sequence[Entry], by_slot: Mapping[str, Entry]
) -> dict[str, Entry]:
    if len(positional) > len(slots):
        raise GraphError(f"{spec.name} takes {len(slots)} inputs ({', '.join(slots)}), not {len(positional)}")
    given = dict(zip(slots, positional, strict=False))
    for slot, entry in by_slot.items():
        if slot not in slots:
            raise GraphError(f"{spec.name} has no input {slot} here; it has {', '.join(slots)}")
        if slot in given:
            raise GraphError(f"{spec.name} is given its input {slot} twice")
        given[slot] = entry
    return given


def _versioned(spec: OpSpec, slot: str, entry: Entry | None, name: str, attrs: Mapping[str, str]) -> Entry:
    if entry is None:
        entry = Entry(input_variable(spec, slot, name, attrs))
    elif entry.node.is_variable and slot in spec.initializers:
        entry.node.attrs.setdefault("__init__", spec.initializers[slot])  # on the caller's variable, as MXNet does
    if slot not in spec.aux:
        return entry
    if not entry.node.is_variable:
        raise GraphError(f"node {name!r}: {slot} of {spec.name} is a state that it writes; it must be a variable")
    return replace(entry, version=1)
