"""The FLOPs figure of the 2019 logs: convolutions and fully connected layers, multiplications and additions apart.

A sum of n products costs 2n - 1, and 2n with a bias. Everything else counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from mxface.graph.shape_inference import infer_shapes
from mxface.graph.symbol import Symbol
from mxface.ops import Params, Shape

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))


def count_flops(symbol: Symbol, **input_shapes: Shape) -> int:
    """Operations of one forward pass over inputs of these shapes; 2019 counted for a batch of 1, data=(1, 3, H, W)."""
    shapes = infer_shapes(symbol.nodes, input_shapes)
    total = 0
    for node in symbol.nodes:
        if count := COUNTERS.get(node.op):
            entry = node.inputs[0]
            data, output = shapes[entry.node][entry.index], shapes[node][0]
            assert data is not None and output is not None
            total += count(node.params, data, output)
    return total


def convolution_flops(params: Params, data: Shape, output: Shape) -> int:
    """2019's count takes all input channels and divides by the groups, the -1 of a missing bias included."""
    products: int = data[1] * prod(params["kernel"])
    return (2 * products - int(params["no_bias"])) * prod(output) // int(params["num_group"])


def fully_connected_flops(params: Params, data: Shape, output: Shape) -> int:
    products = prod(data[1:]) if params["flatten"] else data[-1]
    return (2 * products - int(params["no_bias"])) * prod(output)


COUNTERS: dict[str, Callable[[Params, Shape, Shape], int]] = {
    "Convolution": convolution_flops,
    "FullyConnected": fully_connected_flops,
}


def flops_text(flops: float) -> str:
    """`439.8M`: one decimal of the largest unit that gives at least 1."""
    for size, unit in UNITS:
        if flops >= size:
            return f"{flops / size:.1f}{unit}"
    return f"{flops:.1f}"
