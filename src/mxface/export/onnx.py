"""A graph as an ONNX model: any batch size, and any image size that the network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import mxface.export.operators  # noqa: F401  (fills EXPORTERS)
from mxface.errors import DependencyError, GraphError, UnsupportedOperatorError
from mxface.export.registry import EXPORTERS, OPSET, TRAINING_ONLY, OnnxNode
from mxface.graph import Entry, Node, Symbol
from mxface.lower.registry import find_lowering
from mxface.ops import Shape

if TYPE_CHECKING:
    import onnx

IR_VERSION = 8
"""The oldest that goes with the opset, so that older runtimes read the file."""

Axes = list["int | str | None"]
"""Of an array: a size that is fixed, the name of one that is not, or None for one that follows from others."""


def to_onnx(symbol: Symbol, params: Mapping[str, np.ndarray], *, input_shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """Translate a network for inference; labels of losses fall away, outputs keep their names.

    `input_shapes` ({"data": (1, 3, 112, 112)}) are some that the network takes; the model takes any batch size, and any
    image size unless the network itself is bound to one (a fully connected layer on a map).

    Raises UnsupportedOperatorError for an operator without a translation, GraphError for a missing or misshaped
    parameter, an unsupported setting or a network that takes one batch size only, DependencyError without the package
    onnx.
    """
    refuse_training_only(symbol)
    builder = OnnxBuilder(params, OpenShapes(symbol, params, input_shapes))
    for node in symbol.nodes:
        builder.add(node)
    return builder.finish(list(zip(symbol.list_outputs(), symbol.heads, strict=True)))


def refuse_training_only(symbol: Symbol) -> None:
    """Raise UnsupportedOperatorError for a graph that has an operator of training only."""
    for node in symbol.nodes:
        if node.op in TRAINING_ONLY:
            raise UnsupportedOperatorError(
                f"operator {node.op} (node {node.name!r}) has no ONNX form, since it is of training only: "
                f"{TRAINING_ONLY[node.op]}; export the network that predicts, or choose outputs that do without it"
            )


class OpenShapes:
    """The shapes of all arrays of a graph, and which of their sizes vary with the batch or the image."""

    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray], input_shapes: Mapping[str, Shape]) -> None:
        self.input_shapes = dict(input_shapes)
        self._internals = symbol.get_internals()
        variables = {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - self.input_shapes.keys()
        self._known = {name: params[name].shape for name in variables & params.keys()}
        self.shapes = self._infer(self.input_shapes)
        try:
            self._more = self._infer({name: (2 * s[0], *s[1:]) for name, s in self.input_shapes.items()})
        except GraphError as exc:
            batch = next(iter(self.input_shapes.values()))[0]
            raise GraphError(f"the graph takes a batch of {batch} only ({exc}); choose outputs that take any") from exc
        try:
            self._larger = self._infer({name: (*s[:2], *(2 * n for n in s[2:])) for name, s in input_shapes.items()})
        except GraphError:
            self._larger = self.shapes

    def axes(self, entry: Entry) -> Axes:
        """Of one array."""
        is_input = entry.node.is_variable
        return [
            self._axis(index, sizes, is_input)
            for index, sizes in enumerate(zip(self.shapes[entry], self._more[entry], self._larger[entry], strict=True))
        ]

    def _axis(self, index: int, sizes: tuple[int, int, int], is_input: bool) -> int | str | None:
        size, of_more, of_larger = sizes
        if size == of_more == of_larger:
            return size
        if size == of_larger:
            return "N" if index == 0 else None
        return {2: "H", 3: "W"}.get(index) if is_input else None

    def _infer(self, input_shapes: Mapping[str, Shape]) -> dict[Entry, Shape]:
        _, shapes, _ = self._internals.infer_shape(**self._known, **input_shapes)
        return dict(zip(self._internals.heads, shapes, strict=True))


class OnnxBuilder:
    """An ONNX graph under construction; the translations of operators add to it."""

    def __init__(self, params: Mapping[str, np.ndarray], open_shapes: OpenShapes) -> None:
        self.onnx = _import_onnx()
        self.shapes: dict[str, Shape] = {}
        """Of ONNX values that hold outputs of the graph's nodes, for the shapes at hand: their ranks hold for all."""
        self._params = params
        self._open_shapes = open_shapes
        self._nodes: list[Any] = []
        self._inputs: dict[str, Entry] = {}
        self._constants: dict[str, np.ndarray] = {}
        self._names: dict[tuple[Node, int], str] = {}
        self._taken = set(open_shapes.input_shapes)

    def add(self, node: Node) -> None:
        """Translate one node, whose inputs are there already."""
        if node.is_variable:
            self._add_variable(node)
            results = [node.name]
        else:
            _refuse_ignored_settings(node)
            inputs = [self._names[entry.node, entry.index] for entry in node.inputs]
            results = EXPORTERS[node.op](OnnxNode(self, node, inputs))
        for index, result in enumerate(results):
            self._names[node, index] = result
            self.shapes[result] = self._open_shapes.shapes[Entry(node, index)]

    def emit(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add an ONNX node. Raises GraphError for an output whose name is taken."""
        for name in outputs:
            if name in self._taken:
                raise GraphError(f"two arrays are called {name!r}; an ONNX model needs another name for one of them")
            self._taken.add(name)
        node = self.onnx.helper.make_node(operator, list(inputs), list(outputs), name=outputs[0], **attributes)
        self._nodes.append(node)

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant; give its name."""
        self._constants[name] = value
        return name

    def parameter(self, name: str) -> np.ndarray:
        """The value of a parameter that must be known, not computed."""
        if name not in self._constants:
            raise GraphError(f"parameter {name!r} is missing")
        return self._constants[name]

    def finish(self, outputs: Sequence[tuple[str, Entry]]) -> onnx.ModelProto:
        """The model, whose outputs are called so."""
        for name, entry in outputs:
            self.emit("Identity", [self._names[entry.node, entry.index]], [name])
        self._refuse_missing()
        helper, numpy_helper = self.onnx.helper, self.onnx.numpy_helper
        used = self._used()
        graph = helper.make_graph(
            self._nodes,
            "mxface",
            [self._value_info(name, entry) for name, entry in self._inputs.items() if name in used],
            [self._value_info(name, entry) for name, entry in outputs],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items() if name in used],
        )
        opset = helper.make_opsetid("", OPSET)
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mxface"
        )
        self.onnx.checker.check_model(model)
        return model

    def _add_variable(self, node: Node) -> None:
        if node.name in self._open_shapes.input_shapes:
            self._inputs[node.name] = Entry(node, 0)
        elif node.name in self._params:
            self._constants[node.name] = np.asarray(self._params[node.name], dtype=np.float32)

    def _used(self) -> set[str]:
        return {name for node in self._nodes for name in node.input if name}

    def _refuse_missing(self) -> None:
        missing = sorted(self._used() - self._constants.keys() - self._taken)
        if missing:
            raise GraphError(f"{len(missing)} parameters are missing: {', '.join(missing[:10])}")

    def _value_info(self, name: str, entry: Entry) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, self._open_shapes.axes(entry))


def _refuse_ignored_settings(node: Node) -> None:
    """What the torch form refuses for being unable to follow it, the ONNX form cannot follow either."""
    try:
        find_lowering(node.op, node.name).arguments(node.spec, node.params)
    except GraphError as exc:
        raise GraphError(f"node {node.name!r}: {exc}") from exc


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as exc:
        raise DependencyError("ONNX export needs the package onnx: pip install 'mxface[onnx]'") from exc
    return onnx
