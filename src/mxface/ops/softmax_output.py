"""SoftmaxOutput: softmax over axis 1 forward, cross-entropy's gradient backward."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, parse_bool, parse_float
from mxface.ops.shapes import Inference, is_complete
from mxface.ops.spec import OpSpec, Params, Shape, register


def softmax_output_shape(params: Params, inputs: Mapping[str, Shape | None]) -> Inference | None:
    data, label = inputs["data"], inputs["label"]
    if data is None or not is_complete(data):
        return None
    if len(data) < 2:
        raise GraphError("needs an axis of classes behind that of the batch")
    allowed = label_shapes(data, multi_output=params["multi_output"])
    if is_complete(label):
        if label not in allowed:
            raise GraphError(f"a label of shape {label} does not fit; needs {' or '.join(map(str, allowed))}")
        return {}, [data]
    return {"label": allowed[0]}, [data]


def label_shapes(data: Shape, *, multi_output: bool) -> list[Shape]:
    """The label shapes that MXNet takes, the one it infers first."""
    if multi_output:
        positions = data[2:]
        return [(data[0], prod(positions)), (data[0], *positions), (data[0], 1, *positions)]
    return [data[:-1], data]


SOFTMAX_OUTPUT = register(
    OpSpec(
        name="SoftmaxOutput",
        functions=("Softmax",),
        params={
            "grad_scale": Param(parse_float, 1.0),
            "ignore_label": Param(parse_float, -1.0),
            "multi_output": Param(parse_bool, False),
            "use_ignore": Param(parse_bool, False),
            "preserve_shape": Param(parse_bool, False),
            "normalization": Param(choice("null", "batch", "valid"), "null"),
            "out_grad": Param(parse_bool, False),
            "smooth_alpha": Param(parse_float, 0.0),
        },
        slots=("data", "label"),
        infer_shape=softmax_output_shape,
    )
)
