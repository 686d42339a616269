"""The count of operations of every network, against torch's own counter on the lowered graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.symbols.smallest import NETWORKS, build, parameters
from torch.utils.flop_counter import FlopCounterMode

from mxface.graph import Symbol
from mxface.graph.flops import count_flops
from mxface.lower import lower
from mxface.ops import Shape

NOT_COUNTED = {"Deconvolution", "_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution"}
"""2019 counted convolutions and fully connected layers."""


def torch_flops(symbol: Symbol, data: Shape) -> int:
    arguments, _, states = symbol.infer_shape(data=data)
    params = {name: np.broadcast_to(np.float32(0), shape) for name, shape in {**arguments, **states}.items()}
    network = lower(symbol, params).eval().to("meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.empty(data, device="meta"))
    return counter.get_total_flops()


@pytest.mark.parametrize(("family", "name"), parameters(NETWORKS))
def test_flops(family: str, name: str) -> None:
    symbol = build(name, family=family)
    side = 128 if family in ("alignment", "retinaface") else 112
    ours = count_flops(symbol, data=(1, 3, side, side))
    theirs = torch_flops(symbol, (1, 3, side, side))
    # a sum of n products is 2 n operations, without a bias 2 n - 1 here
    assert ours <= theirs
    if not NOT_COUNTED & {node.op for node in symbol.nodes}:
        assert ours > 0.95 * theirs
