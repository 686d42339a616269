"""Which ONNX nodes stand for which operator, at inference.

A translation gets an `OnnxNode`, adds ONNX nodes through it, the last of them under the operator's own name, and gives
the names of the outputs. What `lower` refuses is refused before a translation is asked; all else it must express.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mxface.errors import GraphError

if TYPE_CHECKING:
    from mxface.export.onnx import OnnxBuilder
    from mxface.graph import Node

OPSET = 17
"""Of 2022. Later ones write reductions, splits and grid sampling in another form, and bring nothing needed here."""


class OnnxNode:
    """An operator of the graph on its way into the ONNX graph."""

    def __init__(self, builder: OnnxBuilder, node: Node, inputs: Sequence[str]) -> None:
        self.name = node.name
        self.inputs = list(inputs)
        """Names of the ONNX values that the operator reads, in the order of its slots."""
        self.params: Mapping[str, Any] = node.params
        self._builder = builder

    @property
    def data(self) -> str:
        """The first input."""
        return self.inputs[0]

    def rank(self, value: str) -> int:
        """How many axes an input has."""
        return len(self._builder.shapes[value])

    def size(self, value: str, axis: int) -> int:
        """A size of an input that depends neither on the batch nor on the image: its channels."""
        return self._builder.shapes[value][axis]

    def parameter(self, value: str) -> NDArray[np.float32]:
        """The array of an input that must be known, not computed. Raises GraphError where it is missing."""
        return self._builder.parameter(value)

    def emit(self, operator: str, inputs: Sequence[str], **attributes: Any) -> list[str]:
        """Add the last ONNX node, of one output; give its name, in a list."""
        self._builder.emit(operator, inputs, [self.name], **attributes)
        return [self.name]

    def emit_several(self, count: int, operator: str, inputs: Sequence[str], **attributes: Any) -> list[str]:
        """Add the last ONNX node, of so many outputs; give their names."""
        names = [f"{self.name}/{index}" for index in range(count)]
        self._builder.emit(operator, inputs, names, **attributes)
        return names

    def step(self, label: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an ONNX node on the way to the last one; give the name of its output."""
        name = f"{self.name}/{label}"  # MXNet's names have no slash
        self._builder.emit(operator, inputs, [name], **attributes)
        return name

    def floats(self, label: str, value: Any) -> str:
        """Add a constant; give its name."""
        return self._builder.constant(f"{self.name}/{label}", np.asarray(value, dtype=np.float32))

    def ints(self, label: str, value: Any) -> str:
        """Add a constant of whole numbers, such as axes or sizes; give its name."""
        return self._builder.constant(f"{self.name}/{label}", np.asarray(value, dtype=np.int64))

    def element_type(self, dtype: Any) -> int:
        """ONNX's number for a numpy type, for `Cast`."""
        return int(self._builder.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def spatial_sizes(self, label: str, value: str, *before: int) -> str:
        """The sizes `before`, then those of an input from the third axis on, whatever the image's."""
        sizes = self.step(f"{label}_spatial", "Shape", value, start=2)
        return self.step(label, "Concat", self.ints(f"{label}_before", before), sizes, axis=0)


Exporter = Callable[[OnnxNode], "list[str]"]

EXPORTERS: dict[str, Exporter] = {}
"""Canonical operator name -> its translation."""

TRAINING_ONLY = {"Custom": "hard example mining picks the anchors to train on"}
"""Operators that no inference needs, and what they are there for."""


def register(name: str, exporter: Exporter) -> None:
    """Let `exporter` translate operator `name`; a second one for a name is refused."""
    if name in EXPORTERS:
        raise GraphError(f"operator {name} has two ONNX forms: {EXPORTERS[name]} and {exporter}")
    EXPORTERS[name] = exporter


def exports(name: str) -> Callable[[Exporter], Exporter]:
    """`register` as a decorator."""

    def decorate(exporter: Exporter) -> Exporter:
        register(name, exporter)
        return exporter

    return decorate


def alike(operator: str) -> Exporter:
    """The translation of an operator that ONNX knows, without attributes."""

    def one_node(op: OnnxNode) -> list[str]:
        return op.emit(operator, op.inputs)

    one_node.__name__ = operator  # for the table of docs/OPERATORS.md
    return one_node
