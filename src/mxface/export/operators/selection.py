"""pick, one_hot."""

from __future__ import annotations

import numpy as np

from mxface.export.registry import OnnxNode, exports


@exports("pick")
def pick(op: OnnxNode) -> list[str]:
    data, index = op.inputs
    axis = op.params["axis"] % op.rank(data)
    positions = op.step("positions", "Cast", index, to=op.element_type(np.int64))
    size = op.step("size", "Shape", data, start=axis, end=axis + 1)
    if op.params["mode"] == "wrap":
        positions = op.step("wrapped", "Mod", positions, size)
    else:
        last = op.step("last", "Sub", size, op.ints("one", [1]))
        lowest = op.step("raised", "Max", positions, op.ints("zero", [0]))
        positions = op.step("clipped", "Min", lowest, last)
    axes = op.ints("axes", [axis])
    if op.rank(index) < op.rank(data):
        positions = op.step("column", "Unsqueeze", positions, axes)
    if op.params["keepdims"]:
        return op.emit("GatherElements", [data, positions], axis=axis)
    return op.emit("Squeeze", [op.step("picked", "GatherElements", data, positions, axis=axis), axes])


@exports("one_hot")
def one_hot(op: OnnxNode) -> list[str]:
    """By comparison: ONNX's own OneHot counts negative indices from the end, MXNet gives them no row."""
    kind = op.element_type(np.dtype(op.params["dtype"]))
    indices = op.step("indices", "Cast", op.data, to=op.element_type(np.int64))
    column = op.step("column", "Unsqueeze", indices, op.ints("axes", [-1]))
    hits = op.step("hits", "Equal", column, op.ints("classes", np.arange(op.params["depth"])))
    values = [op.floats(name, op.params[name]) for name in ("on_value", "off_value")]
    return op.emit("Cast", [op.step("values", "Where", hits, *values)], to=kind)
