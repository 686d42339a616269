"""softmax, log_softmax, SoftmaxActivation, SoftmaxOutput."""

from __future__ import annotations

from mxface.export.registry import Exporter, OnnxNode, exports, register


def with_temperature(operator: str) -> Exporter:
    """The translation of a softmax of data / temperature."""

    def softmax_over_axis(op: OnnxNode) -> list[str]:
        data, temperature = op.data, op.params["temperature"]
        if temperature is not None:
            data = op.step("cooled", "Div", data, op.floats("temperature", temperature))
        return op.emit(operator, [data], axis=op.params["axis"])

    softmax_over_axis.__name__ = operator
    return softmax_over_axis


register("softmax", with_temperature("Softmax"))
register("log_softmax", with_temperature("LogSoftmax"))


@exports("SoftmaxActivation")
def softmax_activation(op: OnnxNode) -> list[str]:
    return op.emit("Softmax", [op.data], axis=1 if op.params["mode"] == "channel" else -1)


@exports("SoftmaxOutput")
def softmax_output(op: OnnxNode) -> list[str]:
    """The probabilities; the label is training's."""
    if op.params["multi_output"]:
        return op.emit("Softmax", [op.data], axis=1)
    if op.params["preserve_shape"] or op.rank(op.data) == 2:
        return op.emit("Softmax", [op.data], axis=-1)
    flat = op.step("over_all", "Softmax", op.step("flat", "Flatten", op.data), axis=1)
    return op.emit("Reshape", [flat, op.step("sizes", "Shape", op.data)])
