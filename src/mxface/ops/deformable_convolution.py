"""Deformable convolution: every tap of the kernel is moved by an offset that the network computes for each position.

Offsets (N, 2 x taps x deformable groups, H', W'): channel 2k is the move of tap k downwards, 2k + 1 that to the right,
taps in row order. The modulated form also weighs each tap, by `mask` (N, taps x deformable groups, H', W').
"""

from __future__ import annotations

from math import prod

from mxface.errors import GraphError
from mxface.ops.convolution import complete_convolution, convolution_shape, without_bias
from mxface.ops.params import Param, choice, optional, parse_bool, parse_int, parse_lengths, parse_size, parse_sizes
from mxface.ops.shapes import Inference, from_data, require_rank
from mxface.ops.spec import OpSpec, Params, Shape, register

LAYOUTS = ("NCDHW", "NCHW", "NCW")

PARAMS = {
    "kernel": Param(parse_sizes),
    "stride": Param(parse_sizes, ()),
    "dilate": Param(parse_sizes, ()),
    "pad": Param(parse_lengths, ()),
    "num_filter": Param(parse_size),
    "num_group": Param(parse_size, 1),
    "num_deformable_group": Param(parse_size, 1),
    "workspace": Param(parse_int, 1024),
    "no_bias": Param(parse_bool, False),
}
LAYOUT = {"layout": Param(optional(choice(*LAYOUTS)), None)}


@from_data
def deformable_convolution_shape(params: Params, data: Shape) -> Inference:
    require_rank(data, 4)
    inference = convolution_shape(params, {"data": data})
    assert inference is not None
    slots, outputs = inference
    groups = params["num_deformable_group"]
    if data[1] % groups:
        raise GraphError(f"num_deformable_group {groups} does not divide {data[1]} input channels")
    taps = groups * prod(params["kernel"])
    positions = outputs[0][2:]
    moved = {"offset": (data[0], 2 * taps, *positions), "mask": (data[0], taps, *positions)}
    return {**slots, **moved}, outputs


DEFORMABLE_CONVOLUTION = register(
    OpSpec(
        name="_contrib_DeformableConvolution",
        params={**PARAMS, **LAYOUT},
        slots=("data", "offset", "weight", "bias"),
        unused_slots=without_bias,
        complete=complete_convolution,
        infer_shape=deformable_convolution_shape,
    )
)

MODULATED_DEFORMABLE_CONVOLUTION = register(
    OpSpec(
        name="_contrib_ModulatedDeformableConvolution",
        params={**PARAMS, "im2col_step": Param(parse_size, 64), **LAYOUT},
        slots=("data", "offset", "mask", "weight", "bias"),
        unused_slots=without_bias,
        complete=complete_convolution,
        infer_shape=deformable_convolution_shape,
    )
)
