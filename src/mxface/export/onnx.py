"""A graph as an ONNX model: any batch size, any image size that the network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mxface.errors import DependencyError, GraphError, UnsupportedOperatorError
from mxface.export.onnx_operators import EXPORTERS
from mxface.graph import Entry, Node, Symbol
from mxface.ops import Shape

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
"""The oldest that goes with the opset, so that older runtimes read the file."""


DATA = "data"


def to_onnx(symbol: Symbol, params: Mapping[str, np.ndarray], *, image_shape: Shape) -> onnx.ModelProto:
    """Translate a network for inference; labels of losses fall away, outputs keep their names.

    `image_shape` (C, H, W) is one that the network takes; the model is not bound to that H and W.

    Raises UnsupportedOperatorError for an operator without a translation, GraphError for a missing parameter,
    DependencyError without the package onnx.
    """
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(**{DATA: (1, *image_shape)})
    builder = OnnxBuilder(params, dict(zip(internals.heads, shapes, strict=True)))
    for node in symbol.nodes:
        builder.add(node)
    outputs = {}
    for head, name in zip(symbol.heads, symbol.list_outputs(), strict=True):
        outputs[name] = builder.shapes[builder.names[head]]
        builder.emit("Identity", [builder.names[head]], name)
    return builder.finish(outputs, image_shape[0])


class OnnxBuilder:
    """An ONNX graph under construction; the translations of operators add to it."""

    def __init__(self, params: Mapping[str, np.ndarray], entry_shapes: Mapping[Entry, Shape]) -> None:
        self.onnx = _import_onnx()
        self.params = params
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names: dict[Entry, str] = {}
        """Output of a node -> the ONNX value that holds it."""
        self.shapes: dict[str, Shape] = {}
        """Of ONNX values that hold outputs of nodes, for the image shape at hand: their ranks hold for all."""
        self._entry_shapes = entry_shapes

    def add(self, node: Node) -> None:
        """Translate one node, whose inputs are there already."""
        if node.is_variable:
            if node.name in self.params:
                self.constants[node.name] = np.asarray(self.params[node.name], dtype=np.float32)
            results = [node.name]
        elif node.op in EXPORTERS:
            inputs = [self.names[Entry(entry.node, entry.index)] for entry in node.inputs]
            results = EXPORTERS[node.op](self, node.name, inputs, node.params)
        else:
            supported = ", ".join(sorted(EXPORTERS))
            raise UnsupportedOperatorError(
                f"operator {node.op} (node {node.name!r}) has no ONNX form; those with one: {supported}"
            )
        for index, result in enumerate(results):
            entry = Entry(node, index)
            self.names[entry] = result
            self.shapes[result] = self._entry_shapes[entry]

    def emit(self, operator: str, inputs: Sequence[str], name: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add an ONNX node; give the names of its outputs."""
        results = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), results, name=name, **attributes))
        return results

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant; give its name."""
        self.constants[name] = value
        return name

    def parameter(self, name: str) -> np.ndarray:
        """The value of a parameter that must be known, not computed."""
        if name not in self.constants:
            raise GraphError(f"parameter {name!r} is missing")
        return self.constants[name]

    def finish(self, outputs: Mapping[str, Shape], channels: int) -> onnx.ModelProto:
        """The model: images of so many channels in, `outputs` out, whose sizes from the third axis on may vary."""
        helper, numpy_helper, kind = self.onnx.helper, self.onnx.numpy_helper, self.onnx.TensorProto.FLOAT
        used = {name for node in self.nodes for name in node.input if name}
        missing = sorted(used - {DATA, *self.constants} - {name for node in self.nodes for name in node.output})
        if missing:
            raise GraphError(f"{len(missing)} parameters are missing: {', '.join(missing[:10])}")
        graph = helper.make_graph(
            self.nodes,
            "mxface",
            [helper.make_tensor_value_info(DATA, kind, ["N", channels, "H", "W"])],
            [
                helper.make_tensor_value_info(name, kind, ["N", *shape[1:2], *[None] * len(shape[2:])])
                for name, shape in outputs.items()
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used],
        )
        opset = helper.make_opsetid("", OPSET)
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mxface"
        )
        self.onnx.checker.check_model(model)
        return model


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError as exc:
        raise DependencyError("ONNX export needs the package onnx: pip install 'mxface[onnx]'") from exc
    return onnx
