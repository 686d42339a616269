"""From a graph and its arrays to a torch.fx.GraphModule, and the arrays back."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from mxface.errors import GraphError
from mxface.graph import Entry, Node, Symbol
from mxface.graph.shape_inference import variables_by_name
from mxface.lower.code import ReadableCode
from mxface.lower.registry import find_lowering
from mxface.ops import Shape

Arrays = dict[str, NDArray[np.float32]]


def lower(
    symbol: Symbol,
    params: Mapping[str, np.ndarray],
    *,
    inputs: Sequence[str] = ("data",),
    input_shapes: Mapping[str, Shape] | None = None,
) -> fx.GraphModule:
    """Build the torch form of a network.

    `params` holds arguments and auxiliary states by name; values are copied to float32, what the graph does not use is
    left out. The module's `state_dict` keys are these names, auxiliary states being buffers; it takes `inputs` in order
    and returns one tensor a head (a tuple if several). The label of a loss that is neither input nor parameter is left
    out: the loss then only predicts. With `input_shapes` (of any batch size) the shapes of all parameters are checked.

    Raises UnsupportedOperatorError for an operator without a torch form, GraphError for an unsupported setting and for
    parameters that are missing or have the wrong shape.
    """
    roles = _Roles(symbol, params, inputs)
    expected = _parameter_shapes(symbol, input_shapes) if input_shapes else {}
    roles.refuse_missing(expected)
    _refuse_misshaped(params, expected)
    builder = _Builder(inputs)
    for node in symbol.nodes:
        if not node.is_variable:
            builder.add_operator(node)
        elif node.name in inputs:
            builder.add_input(node)
        elif node.name in roles.labels:
            builder.leave_out(node)
        else:
            builder.add_parameter(node, params[node.name], is_state=node.name in roles.states)
    return builder.finish(symbol.heads)


def export_params(module: torch.nn.Module) -> tuple[Arrays, Arrays]:
    """Copies of a network's arguments and auxiliary states, float32, by name: what `save_checkpoint` takes."""
    arguments = {name: _to_array(value) for name, value in module.named_parameters()}
    states = {name: _to_array(value) for name, value in module.named_buffers()}
    return arguments, states


class _Roles:
    """What each variable of a graph is: input, label that may be left out, auxiliary state, or parameter."""

    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray], inputs: Sequence[str]) -> None:
        self.states = frozenset(symbol.list_auxiliary_states())
        names = list(variables_by_name(symbol.nodes))
        unknown = [name for name in inputs if name not in names]
        if unknown:
            raise GraphError(
                f"the graph has no input {', '.join(unknown)}; its first variables are {', '.join(names[:5])}"
            )
        absent = [name for name in names if name not in inputs and name not in params]
        needed = _needed_variables(symbol)
        self.labels = frozenset(absent) - needed
        self.missing = [name for name in absent if name in needed]

    def refuse_missing(self, expected: Mapping[str, Shape]) -> None:
        if self.missing:
            raise GraphError(
                f"{len(self.missing)} parameters are missing: {_listed(self.missing, expected)}; "
                "they must be in the checkpoint, or named as inputs"
            )


def _needed_variables(symbol: Symbol) -> frozenset[str]:
    """Names of the variables that some operator, or a head, cannot do without."""
    needed = {head.node.name for head in symbol.heads if head.node.is_variable}
    for node in symbol.nodes:
        if node.is_variable:
            continue
        optional = find_lowering(node.op, node.name).optional
        inputs = zip(node.slots, node.inputs, strict=True)
        needed.update(entry.node.name for slot, entry in inputs if slot not in optional)
    return frozenset(needed)


class _Builder:
    """A torch.fx graph under construction, and the module that holds its parameters."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.module = torch.nn.Module()
        self.graph = fx.Graph()
        self.graph.set_codegen(ReadableCode())
        self.placeholders = {name: self.graph.placeholder(name) for name in inputs}
        self.training = self.graph.create_node("get_attr", "training", name="training")
        self.outputs: dict[tuple[Node, int], fx.Node | None] = {}

    def add_input(self, node: Node) -> None:
        self.outputs[node, 0] = self.placeholders[node.name]

    def leave_out(self, node: Node) -> None:
        self.outputs[node, 0] = None

    def add_parameter(self, node: Node, array: np.ndarray, *, is_state: bool) -> None:
        name = node.name
        if "." in name or hasattr(self.module, name) or hasattr(fx.GraphModule, name):
            raise GraphError(
                f"a torch module cannot hold a parameter called {name!r}; rename it in graph and checkpoint"
            )
        value = torch.from_numpy(np.array(array, dtype=np.float32))  # a copy: arrays may be read-only views of a file
        if is_state:
            self.module.register_buffer(name, value)
        else:
            self.module.register_parameter(name, torch.nn.Parameter(value))
        self.outputs[node, 0] = self.graph.create_node("get_attr", name, name=name)

    def add_operator(self, node: Node) -> None:
        lowering = find_lowering(node.op, node.name)
        try:
            following, keywords = lowering.arguments(node.spec, node.params)
        except GraphError as exc:
            raise GraphError(f"node {node.name!r}: {exc}") from exc
        arguments = (*(self.outputs[entry.node, entry.index] for entry in node.inputs), *following)
        if lowering.needs_training:
            keywords["training"] = self.training
        call = self.graph.create_node("call_function", lowering.function, arguments, keywords, node.name)
        if len(node.outputs) == 1:
            self.outputs[node, 0] = call
            return
        for index, name in enumerate(node.outputs):
            self.outputs[node, index] = self.graph.create_node(
                "call_function", operator.getitem, (call, index), {}, name
            )

    def finish(self, heads: Sequence[Entry]) -> fx.GraphModule:
        results = tuple(self.outputs[head.node, head.index] for head in heads)
        self.graph.output(results[0] if len(results) == 1 else results)
        self.graph.eliminate_dead_code()  # outputs that nobody reads, and `training` where nothing depends on it
        return fx.GraphModule(self.module, self.graph, class_name="Network")


def _parameter_shapes(symbol: Symbol, input_shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    arguments, _, states = symbol.infer_shape(**input_shapes)
    return {**arguments, **states}


def _refuse_misshaped(params: Mapping[str, np.ndarray], expected: Mapping[str, Shape]) -> None:
    wrong = [name for name, shape in expected.items() if name in params and params[name].shape != shape]
    if wrong:
        found = ", ".join(f"{name} is {params[name].shape}, not {expected[name]}" for name in wrong[:10])
        raise GraphError(f"{len(wrong)} parameters have the wrong shape: {found}{', …' if len(wrong) > 10 else ''}")


def _listed(names: Sequence[str], shapes: Mapping[str, Shape]) -> str:
    words = [f"{name} {shapes[name]}" if name in shapes else name for name in names[:10]]
    return ", ".join(words) + (", …" if len(names) > 10 else "")


def _to_array(value: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = value.detach().float().cpu().contiguous().numpy().copy()
    return array
