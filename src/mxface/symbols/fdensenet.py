"""DenseNet (d121 … d201): Huang et al. 2017. recognition/ has a Gluon form, src/symbols one of its own.

Both differ from the paper in the stem, which keeps more of the resolution, and in the embedding heads. Gluon's keeps
the paper's last BN and ReLU and has PReLU (one slope a layer) inside the dense blocks; that of src/symbols has neither
of these and a dropout behind every convolution.
"""

from __future__ import annotations

from typing import NamedTuple

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable, sym
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.gluon import Block
from mxface.symbols.layers import Conv, batch_norm, convolution, normalize_pixels
from mxface.symbols.options import RecognitionOptions
from mxface.symbols.src_stem import src_stem


class Depth(NamedTuple):
    """Channels of the stem, channels that a layer adds, layers in each dense block."""

    stem: int
    growth: int
    layers: tuple[int, ...]


DEPTHS = {
    121: Depth(64, 32, (6, 12, 24, 16)),
    161: Depth(96, 48, (6, 12, 36, 24)),
    169: Depth(64, 32, (6, 12, 32, 32)),
    201: Depth(64, 32, (6, 12, 48, 32)),
}
BOTTLENECK = 4
"""A layer's 1x1 has this many times the growth."""

SRC_DROPOUT = 0.2


def build_fdensenet(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, densenet_dropout, net_act, net_output, emb_size."""
    depth = depth_of(options)
    network = Block().child("densenet")
    body = network.conv_block(normalize_pixels(Variable("data")), depth.stem, 3, "relu")
    body = network.max_pooling(body, 3, stride=2, pad=1)
    channels = depth.stem
    for number, layers in enumerate(depth.layers, start=1):
        if number > 1:
            channels //= 2
            body = network.activation(network.batch_norm(body), options.net_act)
            body = network.average_pooling(network.convolution(body, channels), 2, stride=2)
        stage = network.scope(f"stage{number}")
        for _ in range(layers):
            body = stage.operator("concat", body, dense_layer(stage, body, depth.growth, options), dim=1)
        channels += layers * depth.growth
    return embedding_head(network.activation(network.batch_norm(body), "relu"), options)


def dense_layer(stage: Block, data: Symbol, growth: int, options: RecognitionOptions) -> Symbol:
    """BN act 1x1, BN act 3x3."""
    body = stage.activation(stage.batch_norm(data), options.net_act)
    body = stage.convolution(body, BOTTLENECK * growth)
    body = stage.activation(stage.batch_norm(body), options.net_act)
    body = stage.convolution(body, growth, 3)
    return stage.dropout(body, options.densenet_dropout) if options.densenet_dropout else body


def build_src_fdensenet(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, net_input, net_output, emb_size."""
    depth = depth_of(options)
    body = src_stem(Variable("data"), 2 * depth.growth, options)
    channels = 2 * depth.growth  # nominal: unless net_input is 0, d161's stem has 64 and not 96
    for number, layers in enumerate(depth.layers, start=1):
        if number > 1:
            channels //= 2
            body = src_transition(body, channels, f"TBstage{number - 1}", number - 1, options)
        for layer in range(1, layers + 1):
            new = src_dense_layer(body, depth.growth, f"DBstage{number}_unit{layer}", options)
            body = sym.Concat(body, new, name=f"DBstage{number}_concat{layer}")
        channels += layers * depth.growth
    return embedding_head(body, options)


def src_dense_layer(data: Symbol, growth: int, name: str, options: RecognitionOptions) -> Symbol:
    body = src_bn_relu_conv(data, Conv(BOTTLENECK * growth, 1), name, 1, options)
    return src_bn_relu_conv(body, Conv(growth, 3), name, 2, options)


def src_transition(data: Symbol, channels: int, name: str, number: int, options: RecognitionOptions) -> Symbol:
    body = src_bn_relu_conv(data, Conv(channels, 1), name, 1, options)
    return sym.Pooling(
        data=body, global_pool=False, kernel=(2, 2), stride=(2, 2), pool_type="avg", name=f"{name}_pool{number}"
    )


def src_bn_relu_conv(data: Symbol, conv: Conv, name: str, number: int, options: RecognitionOptions) -> Symbol:
    """… and dropout."""
    body = batch_norm(data, f"{name}_bn{number}", options)
    body = sym.Activation(data=body, act_type="relu", name=f"{name}_relu{number}")
    body = convolution(body, conv, f"{name}_conv{number}", options)
    return sym.Dropout(data=body, p=SRC_DROPOUT, name=f"{name}_dp{number}")


def depth_of(options: RecognitionOptions) -> Depth:
    if options.num_layers not in DEPTHS:
        choice = ", ".join(map(str, DEPTHS))
        raise ConfigError(f"fdensenet has no num_layers={options.num_layers}; choose one of {choice}")
    return DEPTHS[options.num_layers]
