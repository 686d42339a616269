"""What the graph must know of an operator: parameters, inputs, outputs, shapes. How it computes is `lower/`'s affair.

An operator is one `OpSpec`, registered by its canonical name (the `op` of a symbol JSON). The functions that make it
may have other names (`a + b` calls `_Plus`, which makes an `elemwise_add`); the automatic name of a node comes from the
function called. Names, aliases, parameters and defaults are MXNet 1.9.1's (`tests/ops/test_against_mxnet.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mxface.errors import GraphError, UnsupportedOperatorError
from mxface.ops.params import Param, parse_attributes

Shape = tuple[int, ...]
"""Sizes of an array; a size of 0 is not known yet (MXNet's convention)."""

Params = Mapping[str, Any]
"""An operator's typed parameters, as `OpSpec.parse` returns them."""

ShapeRule = Callable[[Params, Mapping[str, "Shape | None"]], "tuple[Mapping[str, Shape], list[Shape]] | None"]
"""From what is known of the inputs (slot -> shape or None) to what follows: shapes of input slots and visible outputs.

Slots that a node does not have may be named; they are ignored. None: too little is known yet. Raises GraphError where
sizes do not fit, with the reason alone: the caller adds the node's name.
"""

SINGLE_OUTPUT = ("output",)


@dataclass(frozen=True, kw_only=True)
class OpSpec:
    """One operator, without its arithmetic."""

    name: str
    infer_shape: ShapeRule
    params: dict[str, Param] = field(default_factory=dict)
    slots: tuple[str, ...] = ("data",)
    """Input slots in order, auxiliary states last. An input that is not given becomes a variable `<node>_<slot>`."""
    unused_slots: Callable[[Params], Collection[str]] = lambda _: ()
    """Slots that these parameters switch off (`bias` under no_bias)."""
    aux: tuple[str, ...] = ()
    """The slots that a training forward writes."""
    count_param: str | None = None
    """For operators of any number of inputs: the parameter that holds how many."""
    outputs: Callable[[Params], tuple[str, ...]] = lambda _: SINGLE_OUTPUT
    """Names of the visible outputs, each to follow `<node>_`."""
    hidden_outputs: Callable[[Params], int] = lambda _: 0
    """How many outputs follow that nobody asks for (a dropout mask); the JSON's `node_row_ptr` counts them."""
    initializers: dict[str, str] = field(default_factory=dict)
    """The `__init__` attribute that a variable in a slot gets, unless it has one."""
    functions: tuple[str, ...] = ()
    """Further names under which the operator can be called, or may stand in a JSON file."""
    complete: Callable[[dict[str, Any]], None] = lambda _: None
    """Fill in defaults that depend on other parameters (stride () -> (1, 1))."""

    def parse(self, attrs: Mapping[str, str]) -> dict[str, Any]:
        """All parameters as typed values, defaults filled in.

        Raises GraphError for a parameter that is missing, unknown or unreadable.
        """
        values = parse_attributes(self.name, self.params, attrs)
        self.complete(values)
        return values

    def inputs(self, params: Params) -> tuple[str, ...]:
        """The input slots of a node with these parameters."""
        if self.count_param is not None:
            return tuple(f"arg{i}" for i in range(params[self.count_param]))
        unused = self.unused_slots(params)
        return tuple(slot for slot in self.slots if slot not in unused)


OPS: dict[str, OpSpec] = {}
"""Canonical name -> operator."""

FUNCTIONS: dict[str, OpSpec] = {}
"""Every name by which an operator can be called -> operator."""


def register(spec: OpSpec) -> OpSpec:
    """Add an operator; a name that is taken is refused."""
    for name in (spec.name, *spec.functions):
        if name in FUNCTIONS:
            raise GraphError(f"operator name {name} is registered twice, for {FUNCTIONS[name].name} and {spec.name}")
        FUNCTIONS[name] = spec
    OPS[spec.name] = spec
    return spec


def find_operator(name: str, node: str = "") -> OpSpec:
    """The operator of a canonical name or alias; `node` is named in the error where there is none."""
    try:
        return FUNCTIONS[name]
    except KeyError:
        where = f" (node {node!r})" if node else ""
        raise UnsupportedOperatorError(
            f"operator {name}{where} is not supported; supported are {', '.join(sorted(OPS))}"
        ) from None
