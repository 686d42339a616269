"""sum, mean, max, min."""

from __future__ import annotations

from mxface.export.registry import Exporter, OnnxNode, register
from mxface.ops.reduce import reduced_axes


def reduction(operator: str) -> Exporter:
    """The translation of a reduction over the named axes, or over everything (GNAP's, the batch included)."""

    def reduce_axes(op: OnnxNode) -> list[str]:
        axes = reduced_axes(op.params, op.rank(op.data))
        if not axes:
            return op.emit("Identity", [op.data])
        inputs, attributes = [op.data], {"axes": axes}
        if operator == "ReduceSum":  # the one whose axes became an input
            inputs, attributes = [op.data, op.ints("axes", axes)], {}
        if op.params["keepdims"] or len(axes) < op.rank(op.data):
            return op.emit(operator, inputs, keepdims=int(op.params["keepdims"]), **attributes)
        # MXNet has no arrays without an axis
        total = op.step("total", operator, *inputs, keepdims=1, **attributes)
        return op.emit("Reshape", [total, op.ints("one", [1])])

    reduce_axes.__name__ = operator
    return reduce_axes


for name, operator in {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}.items():
    register(name, reduction(operator))
