"""Pooling, with MXNet's conventions for the size and for the border."""

from __future__ import annotations

from typing import Any

from mxface.export.registry import OnnxNode, exports


@exports("Pooling")
def pooling(op: OnnxNode) -> list[str]:
    kind = {"max": "MaxPool", "avg": "AveragePool"}[op.params["pool_type"]]
    if op.params["global_pool"]:
        return op.emit(f"Global{kind}", [op.data])
    rounds_up = op.params["pooling_convention"] == "full"
    if kind == "AveragePool":
        return averages_rounded_up(op) if rounds_up else op.emit(kind, [op.data], **averaging(op))
    return op.emit(kind, [op.data], ceil_mode=int(rounds_up), pads=op.params["pad"] * 2, **window(op))


def window(op: OnnxNode) -> dict[str, Any]:
    return {"kernel_shape": op.params["kernel"], "strides": op.params["stride"]}


def averaging(op: OnnxNode) -> dict[str, Any]:
    counts_padding = op.params["count_include_pad"] is not False
    return {**window(op), "pads": op.params["pad"] * 2, "count_include_pad": int(counts_padding)}


def averages_rounded_up(op: OnnxNode) -> list[str]:
    """Of zeros added behind, up to the last window: their mean over that of ones, which counts what is to be counted.

    ONNX's own `ceil_mode` counts differently from one ONNX Runtime to the next.
    """
    spatial = len(op.params["kernel"])
    none, behind = [0] * spatial, [stride - 1 for stride in op.params["stride"]]
    ones = op.step(
        "ones",
        "ConstantOfShape",
        op.spatial_sizes("sizes", op.data, 1, 1),
        value=op.tensor([1.0]),
    )
    means = []
    for label, array, counted in (
        ("sums", op.data, 0.0),
        ("counts", ones, float(op.params["count_include_pad"] is not False)),
    ):
        around = op.ints(f"{label}_around", [0, 0, *op.params["pad"], 0, 0, *op.params["pad"]])
        padded = op.step(f"{label}_padded", "Pad", array, around, op.floats(f"{label}_padding", counted))
        added = op.ints(f"{label}_behind", [0, 0, *none, 0, 0, *behind])
        longer = op.step(f"{label}_longer", "Pad", padded, added)
        means.append(op.step(label, "AveragePool", longer, **window(op)))
    return op.emit("Div", means)
