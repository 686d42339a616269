"""Inception-ResNet-v2 (i): Szegedy et al. 2016, in the form of TF-Slim.

Differs from it: unless net_input is 0 the stem keeps full resolution, and its first max-pooling is left out in any
case; 129 filters in block17, whose 1x7 and 7x1 are padded so that only both together keep the size; every convolution
has a bias, every BN no gamma; embedding heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mxface.graph import Symbol, Variable, sym
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.layers import normalize_pixels
from mxface.symbols.options import RecognitionOptions


class Conv(NamedTuple):
    """A convolution with BN and ReLU."""

    filters: int
    kernel: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    stride: int = 1


Branches = Sequence[Sequence[Conv]]
"""Chains of convolutions that begin at one map and are joined."""


def conv3x3(filters: int) -> Conv:
    return Conv(filters, (3, 3), (1, 1))


def halving3x3(filters: int) -> Conv:
    return Conv(filters, (3, 3), stride=2)


MIXED_5B: Branches = (
    [Conv(96)],
    [Conv(48), Conv(64, (5, 5), (2, 2))],
    [Conv(64), conv3x3(96), conv3x3(96)],
)
BLOCK35: Branches = ([Conv(32)], [Conv(32), conv3x3(32)], [Conv(32), conv3x3(48), conv3x3(64)])
REDUCTION_A: Branches = ([halving3x3(384)], [Conv(256), conv3x3(256), halving3x3(384)])
BLOCK17: Branches = ([Conv(192)], [Conv(129), Conv(160, (1, 7), (1, 2)), Conv(192, (7, 1), (2, 1))])
REDUCTION_B: Branches = (
    [Conv(256), halving3x3(384)],
    [Conv(256), halving3x3(288)],
    [Conv(256), conv3x3(288), halving3x3(320)],
)
BLOCK8: Branches = ([Conv(192)], [Conv(192), Conv(224, (1, 3), (0, 1)), Conv(256, (3, 1), (1, 0))])


def build_finception_resnet_v2(options: RecognitionOptions) -> Symbol:
    """Read: net_input, net_output, emb_size."""
    stride = 2 if options.net_input == 0 else 1
    body = chain(normalize_pixels(Variable("data")), [Conv(32, (3, 3), stride=stride), Conv(32, (3, 3)), conv3x3(64)])
    max_pooling(body)  # made and left out in 2019: the next one is pooling1
    body = max_pooling(chain(body, [Conv(80), Conv(192, (3, 3))]))
    body = sym.Concat(*(chain(body, branch) for branch in MIXED_5B), chain(average_pooling(body), [Conv(64)]))
    for _ in range(10):
        body = relu(residual(body, BLOCK35, 320, scale=0.17))
    body = reduction(body, REDUCTION_A)
    for _ in range(20):
        body = relu(residual(body, BLOCK17, 1088, scale=0.1))
    body = reduction(body, REDUCTION_B)
    for _ in range(9):
        body = relu(residual(body, BLOCK8, 2080, scale=0.2))
    body = residual(body, BLOCK8, 2080, scale=1.0)
    return embedding_head(chain(body, [Conv(1536)]), options)


def residual(data: Symbol, branches: Branches, filters: int, *, scale: float) -> Symbol:
    """Add what the branches say, brought back to the map's width without an activation, times `scale`."""
    joined = sym.Concat(*(chain(data, branch) for branch in branches))
    return data + conv_bn(joined, Conv(filters)) * scale


def reduction(data: Symbol, branches: Branches) -> Symbol:
    """The branches beside a max-pooling, all with stride 2."""
    return sym.Concat(*(chain(data, branch) for branch in branches), max_pooling(data))


def chain(data: Symbol, convs: Sequence[Conv]) -> Symbol:
    for conv in convs:
        data = relu(conv_bn(data, conv))
    return data


def conv_bn(data: Symbol, conv: Conv) -> Symbol:
    convolved = sym.Convolution(
        data=data, num_filter=conv.filters, kernel=conv.kernel, stride=(conv.stride, conv.stride), pad=conv.pad
    )
    return sym.BatchNorm(data=convolved)


def relu(data: Symbol) -> Symbol:
    return sym.Activation(data=data, act_type="relu")


def max_pooling(data: Symbol) -> Symbol:
    return sym.Pooling(data=data, kernel=(3, 3), stride=(2, 2), pool_type="max")


def average_pooling(data: Symbol) -> Symbol:
    return sym.Pooling(data=data, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="avg")
