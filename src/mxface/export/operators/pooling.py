"""Pooling, with MXNet's conventions for the size and for the border, which are ONNX's, too."""

from __future__ import annotations

from mxface.export.registry import OnnxNode, exports


@exports("Pooling")
def pooling(op: OnnxNode) -> list[str]:
    kind = {"max": "MaxPool", "avg": "AveragePool"}[op.params["pool_type"]]
    if op.params["global_pool"]:
        return op.emit(f"Global{kind}", [op.data])
    counting = {"count_include_pad": int(op.params["count_include_pad"] is not False)} if kind == "AveragePool" else {}
    return op.emit(
        kind,
        [op.data],
        kernel_shape=op.params["kernel"],
        strides=op.params["stride"],
        pads=op.params["pad"] * 2,
        ceil_mode=int(op.params["pooling_convention"] == "full"),
        **counting,
    )
