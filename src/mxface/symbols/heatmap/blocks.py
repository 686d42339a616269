"""Building blocks of the heat map networks, chosen by `net_block`, and the hourglass of them.

A block takes (data, filters, name, options, match): `match` says that `data` has `filters` channels already; if not, a
1x1 brings the shortcut there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mxface.graph import Symbol, sym
from mxface.symbols.heatmap.grids import channel_grid
from mxface.symbols.heatmap.layers import conv_bn, conv_bn_relu, max_pooling, relu
from mxface.symbols.layers import Conv, LayerOptions, bare_convolution, batch_norm, double


class Block(Protocol):
    def __call__(self, data: Symbol, filters: int, name: str, options: LayerOptions, *, match: bool) -> Symbol: ...


def bottleneck(data: Symbol, filters: int, name: str, options: LayerOptions, *, match: bool) -> Symbol:
    """The pre-activation residual unit: 1x1, 3x3, 1x1."""
    half = filters // 2
    convs = [Conv(half, 1), Conv(half, 3), Conv(filters, 1)]
    active, outputs = active_convolutions(data, convs, name, options)
    return outputs[-1] + (data if match else projection(active, filters, name, options))


def multi_scale(data: Symbol, filters: int, name: str, options: LayerOptions, *, match: bool) -> Symbol:
    """Hierarchical, parallel, multi-scale (HPM, Bulat & Tzimiropoulos 2017): three 3x3 in a row, all of them joined."""
    convs = [Conv(filters // 2, 3), Conv(filters // 4, 3), Conv(filters // 4, 3)]
    active, outputs = active_convolutions(data, convs, name, options, dilate=(1, 1))
    return sym.Concat(*outputs) + (data if match else projection(active, filters, name, options))


def inception(data: Symbol, filters: int, name: str, options: LayerOptions, *, match: bool) -> Symbol:
    """Inception-ResNet's block35; a bottleneck where the widths differ."""
    if not match:
        return bottleneck(data, filters, name, options, match=False)
    name, quarter = f"{name}_block35", filters // 4
    first = conv_bn_relu(data, quarter, f"{name}_conv", options)
    second = conv_bn_relu(data, quarter, f"{name}_conv1_0", options)
    second = conv_bn_relu(second, quarter, f"{name}_conv1_1", options, kernel=3)
    third = conv_bn_relu(data, quarter, f"{name}_conv2_0", options)
    third = conv_bn_relu(third, int(filters * 0.375), f"{name}_conv2_1", options, kernel=3)
    third = conv_bn_relu(third, int(filters * 0.5), f"{name}_conv2_2", options, kernel=3)
    mixed = conv_bn(sym.Concat(first, second, third), filters, f"{name}_conv_out", options)
    return relu(data + mixed * 1.0)


def channel_aggregation(data: Symbol, filters: int, name: str, options: LayerOptions, *, match: bool) -> Symbol:
    """CAB; HPM where the widths differ."""
    if not match:
        return multi_scale(data, filters, name, options, match=False)
    return channel_grid(data, filters, name, options)


BLOCKS: dict[str, Block] = {
    "resnet": bottleneck,
    "hpm": multi_scale,
    "inception": inception,
    "cab": channel_aggregation,
}
"""By `net_block`."""


def hourglass(data: Symbol, filters: int, halvings: int, name: str, block: Block, options: LayerOptions) -> Symbol:
    """Halve the map `halvings` times and back, each size with a way around."""
    around = block(data, filters, f"{name}_up1_0", options, match=True)
    body = block(max_pooling(data), filters, f"{name}_low1_0", options, match=True)
    if halvings > 1:
        body = hourglass(body, filters, halvings - 1, f"{name}_{halvings - 1}", block, options)
    else:
        body = block(body, filters, f"{name}_low2_0", options, match=True)
    body = block(body, filters, f"{name}_low3_0", options, match=True)
    return sym.add_n(around, double(body, f"{name}_upsampling_{halvings}"))


def active_convolutions(
    data: Symbol, convs: Sequence[Conv], name: str, options: LayerOptions, **window: Any
) -> tuple[Symbol, list[Symbol]]:
    """BN, ReLU, convolution in a row: the first ReLU and the outputs of all convolutions."""
    body, actives, outputs = data, [], []
    for number, conv in enumerate(convs, start=1):
        actives.append(relu(batch_norm(body, f"{name}_bn{number}", options), f"{name}_relu{number}"))
        pad = (conv.kernel // 2, conv.kernel // 2)
        body = bare_convolution(actives[-1], conv, f"{name}_conv{number}", options, pad=pad, **window)
        outputs.append(body)
    return actives[0], outputs


def projection(active: Symbol, filters: int, name: str, options: LayerOptions) -> Symbol:
    """The shortcut where the widths differ; it branches off behind the first ReLU."""
    return bare_convolution(active, Conv(filters, 1), f"{name}_sc", options)
