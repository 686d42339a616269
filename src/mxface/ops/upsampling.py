"""UpSampling: every value repeated `scale` times both ways; several inputs are brought to the first one's size."""

from __future__ import annotations

from mxface.errors import GraphError
from mxface.ops.params import Param, choice, parse_count, parse_int, parse_size
from mxface.ops.shapes import from_all_inputs, require_rank
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_all_inputs
def upsampling_shape(params: Params, inputs: list[Shape]) -> list[Shape]:
    for shape in inputs:
        require_rank(shape, 4)
    first = inputs[0]
    height, width = first[2] * params["scale"], first[3] * params["scale"]
    for other in inputs:
        if height % other[2] or width % other[3]:
            raise GraphError(f"a map of {other[2:]} cannot be repeated to ({height}, {width})")
    summed = params["multi_input_mode"] == "sum"
    channels = first[1] if summed else sum(shape[1] for shape in inputs)
    return [(first[0], channels, height, width)]


UPSAMPLING = register(
    OpSpec(
        name="UpSampling",
        params={
            "scale": Param(parse_size),
            "num_filter": Param(parse_int, 0),
            "sample_type": Param(
                choice("nearest")
            ),  # "bilinear" is a deconvolution with a weight; nothing here uses it
            "multi_input_mode": Param(choice("concat", "sum"), "concat"),
            "num_args": Param(parse_count),
            "workspace": Param(parse_int, 512),
        },
        slots=(),
        count_param="num_args",
        initializers={"arg1": '["bilinear", {}]'},  # MXNet notes it whatever the second input is
        infer_shape=upsampling_shape,
    )
)
