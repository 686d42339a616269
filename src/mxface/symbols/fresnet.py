"""The face ResNets (r18 … r269): "ArcFace", Deng et al. 2019, with the improved residual unit.

They differ from the ImageNet ResNet: a 3x3 stem without stride or max-pooling, stride 2 in the first unit of all four
stages (112 -> 7), PReLU, convolutions of 3x3 at every depth (no bottleneck), and the embedding heads. The form of
src/symbols and gender-age has bottlenecks from r101 on.
"""

from __future__ import annotations

from collections.abc import Sequence

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable, sym
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.layers import (
    BN_EPS,
    Conv,
    activation,
    bare_convolution,
    batch_norm,
    convolution,
    global_average,
    normalize_pixels,
)
from mxface.symbols.options import RecognitionOptions

UNITS_PER_STAGE = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    49: (3, 4, 14, 3),
    50: (3, 4, 14, 3),
    74: (3, 6, 24, 3),
    90: (3, 8, 30, 3),
    98: (3, 4, 38, 3),
    99: (3, 8, 35, 3),
    100: (3, 13, 30, 3),
    101: (3, 4, 23, 3),
    124: (3, 13, 40, 5),
    152: (3, 8, 36, 3),
    160: (3, 24, 49, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
STEM_FILTERS = 64
STAGE_FILTERS = (64, 128, 256, 512)

NOT_IN_SRC = (98, 99, 160)
SRC_BOTTLENECK_FROM = 101
"""The depth from which units are bottlenecks, and stages four times as wide."""


def build_fresnet(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, net_input, net_unit, net_se, net_act, net_output, emb_size, bn_mom, workspace."""
    return residual_network(options, tuple(UNITS_PER_STAGE), bottleneck=False)


def build_src_fresnet(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, net_input, net_unit, net_se, net_act, net_output, emb_size."""
    depths = tuple(depth for depth in UNITS_PER_STAGE if depth not in NOT_IN_SRC)
    return residual_network(options, depths, bottleneck=(options.num_layers or 0) >= SRC_BOTTLENECK_FROM)


def residual_network(options: RecognitionOptions, depths: tuple[int, ...], *, bottleneck: bool) -> Symbol:
    if options.num_layers not in depths:
        choice = ", ".join(map(str, depths))
        raise ConfigError(f"fresnet has no num_layers={options.num_layers}; choose one of {choice}")
    residual_unit = {1: post_activation_unit, 2: pre_activation_unit, 3: improved_unit}[options.net_unit]
    body = stem(Variable("data"), options)
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        convs = (Conv(filters, 1), Conv(filters, 3), Conv(4 * filters, 1)) if bottleneck else (Conv(filters, 3),) * 2
        for unit in range(1, UNITS_PER_STAGE[options.num_layers][stage - 1] + 1):
            body = residual_unit(body, convs, f"stage{stage}_unit{unit}", options, halve=unit == 1)
    return embedding_head(body, options)


def stem(data: Symbol, options: RecognitionOptions) -> Symbol:
    """net_input 0 halves the map with a 7x7; 2 learns the pixel normalisation (a BN without gamma)."""
    if options.net_input == 2:
        data = sym.BatchNorm(data=data, fix_gamma=True, eps=BN_EPS, momentum=options.bn_mom, name="bn_data")
    else:
        data = normalize_pixels(sym.identity(data=data, name="id"))
    conv0 = Conv(STEM_FILTERS, 7, 2) if options.net_input == 0 else Conv(STEM_FILTERS, 3)
    return activation(batch_norm(convolution(data, conv0, "conv0", options), "bn0", options), options.net_act, "relu0")


def post_activation_unit(
    data: Symbol, convs: Sequence[Conv], name: str, options: RecognitionOptions, *, halve: bool
) -> Symbol:
    """Unit 1, the original ResNet's: conv BN act … conv BN, sum, act. The last conv halves; with stem 0 the first."""
    body = data
    for number, conv in enumerate(with_stride(convs, halve, place=0 if options.net_input == 0 else -1), start=1):
        body = batch_norm(convolution(body, conv, f"{name}_conv{number}", options), f"{name}_bn{number}", options)
        if number < len(convs):
            body = activation(body, options.net_act, f"{name}_relu{number}")
    body = squeeze_excite(body, conv.filters, name, options)
    shortcut = projection(data, conv.filters, name, options) if halve else data
    return activation(body + shortcut, options.net_act, f"{name}_relu3")


def pre_activation_unit(
    data: Symbol, convs: Sequence[Conv], name: str, options: RecognitionOptions, *, halve: bool
) -> Symbol:
    """Unit 2, "identity mappings": BN act conv … BN act conv, sum. The first conv of 3x3 halves.

    The projection branches off behind the first act.
    """
    body = active = activation(batch_norm(data, f"{name}_bn1", options), options.net_act, f"{name}_relu1")
    for number, conv in enumerate(with_stride(convs, halve, place=-2), start=1):
        if number > 1:
            body = activation(batch_norm(body, f"{name}_bn{number}", options), options.net_act, f"{name}_relu{number}")
        body = convolution(body, conv, f"{name}_conv{number}", options)
    body = squeeze_excite(body, conv.filters, name, options)
    return body + (bare_convolution(active, Conv(conv.filters, 1, 2), f"{name}_sc", options) if halve else data)


def improved_unit(
    data: Symbol, convs: Sequence[Conv], name: str, options: RecognitionOptions, *, halve: bool
) -> Symbol:
    """Unit 3, ArcFace's: BN, conv BN act … conv BN, sum. The last conv halves."""
    body = batch_norm(data, f"{name}_bn1", options)
    for number, conv in enumerate(with_stride(convs, halve, place=-1), start=1):
        body = batch_norm(convolution(body, conv, f"{name}_conv{number}", options), f"{name}_bn{number + 1}", options)
        if number < len(convs):
            body = activation(body, options.net_act, f"{name}_relu{number}")
    body = squeeze_excite(body, conv.filters, name, options)
    return body + (projection(data, conv.filters, name, options) if halve else data)


def with_stride(convs: Sequence[Conv], halve: bool, place: int) -> list[Conv]:
    """The convolutions, that at `place` with stride 2 if the unit halves the map."""
    placed = list(convs)
    placed[place] = convs[place]._replace(stride=2 if halve else 1)
    return placed


def projection(data: Symbol, filters: int, name: str, options: RecognitionOptions) -> Symbol:
    """The shortcut of a unit that halves the map."""
    shortcut = bare_convolution(data, Conv(filters, 1, 2), f"{name}_conv1sc", options)
    return batch_norm(shortcut, f"{name}_sc", options)


def squeeze_excite(data: Symbol, filters: int, name: str, options: RecognitionOptions) -> Symbol:
    """Weigh the channels by what their averages say (only under net_se)."""
    if not options.net_se:
        return data
    pointwise = {"kernel": (1, 1), "stride": (1, 1), "pad": (0, 0), "workspace": options.workspace}
    gate = global_average(data, f"{name}_se_pool1")
    gate = sym.Convolution(data=gate, num_filter=filters // 16, name=f"{name}_se_conv1", **pointwise)
    gate = activation(gate, options.net_act, f"{name}_se_relu1")
    gate = sym.Convolution(data=gate, num_filter=filters, name=f"{name}_se_conv2", **pointwise)
    gate = sym.Activation(data=gate, act_type="sigmoid", name=f"{name}_se_sigmoid")
    return sym.broadcast_mul(data, gate)
