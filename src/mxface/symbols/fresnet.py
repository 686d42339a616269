"""The face ResNets (r18 … r269): "ArcFace", Deng et al. 2019, with the improved residual unit.

They differ from the ImageNet ResNet: a 3x3 stem without stride or max-pooling, stride 2 in the first unit of all four
stages (112 -> 7), PReLU, convolutions of 3x3 at every depth (no bottleneck), and the embedding heads.
"""

from __future__ import annotations

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable, sym
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.layers import BN_EPS, activation, global_average, normalize_pixels
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


def build_fresnet(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, net_input, net_unit, net_se, net_act, net_output, emb_size, bn_mom, workspace."""
    if options.num_layers not in UNITS_PER_STAGE:
        depths = ", ".join(map(str, UNITS_PER_STAGE))
        raise ConfigError(f"fresnet has no num_layers={options.num_layers}; choose one of {depths}")
    residual_unit = {1: post_activation_unit, 2: pre_activation_unit, 3: improved_unit}[options.net_unit]
    body = stem(Variable("data"), options)
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        for unit in range(1, UNITS_PER_STAGE[options.num_layers][stage - 1] + 1):
            body = residual_unit(body, filters, f"stage{stage}_unit{unit}", options, halve=unit == 1)
    return embedding_head(body, options)


def stem(data: Symbol, options: RecognitionOptions) -> Symbol:
    """net_input 0 halves the map with a 7x7; 2 learns the pixel normalisation (a BN without gamma)."""
    if options.net_input == 2:
        data = sym.BatchNorm(data=data, fix_gamma=True, eps=BN_EPS, momentum=options.bn_mom, name="bn_data")
    else:
        data = normalize_pixels(sym.identity(data=data, name="id"))
    kernel, stride = (7, 2) if options.net_input == 0 else (3, 1)
    body = convolution(data, STEM_FILTERS, kernel, stride, "conv0", options)
    return activation(batch_norm(body, "bn0", options), options.net_act, "relu0")


def post_activation_unit(data: Symbol, filters: int, name: str, options: RecognitionOptions, *, halve: bool) -> Symbol:
    """Unit 1, the original ResNet's: conv BN act, conv BN, sum, act. With stem 0 the first conv has the stride."""
    stride = 2 if halve else 1
    first, second = (stride, 1) if options.net_input == 0 else (1, stride)
    body = convolution(data, filters, 3, first, f"{name}_conv1", options)
    body = activation(batch_norm(body, f"{name}_bn1", options), options.net_act, f"{name}_relu1")
    body = convolution(body, filters, 3, second, f"{name}_conv2", options)
    body = squeeze_excite(batch_norm(body, f"{name}_bn2", options), filters, name, options)
    shortcut = projection(data, filters, name, options) if halve else data
    return activation(body + shortcut, options.net_act, f"{name}_relu3")


def pre_activation_unit(data: Symbol, filters: int, name: str, options: RecognitionOptions, *, halve: bool) -> Symbol:
    """Unit 2, "identity mappings": BN act conv, BN act conv, sum; the projection branches off behind the first act."""
    stride = 2 if halve else 1
    active = activation(batch_norm(data, f"{name}_bn1", options), options.net_act, f"{name}_relu1")
    body = convolution(active, filters, 3, stride, f"{name}_conv1", options)
    body = activation(batch_norm(body, f"{name}_bn2", options), options.net_act, f"{name}_relu2")
    body = squeeze_excite(convolution(body, filters, 3, 1, f"{name}_conv2", options), filters, name, options)
    shortcut = convolution(active, filters, 1, stride, f"{name}_sc", options) if halve else data
    return body + shortcut


def improved_unit(data: Symbol, filters: int, name: str, options: RecognitionOptions, *, halve: bool) -> Symbol:
    """Unit 3, ArcFace's: BN conv, BN act conv, BN, sum."""
    body = batch_norm(data, f"{name}_bn1", options)
    body = convolution(body, filters, 3, 1, f"{name}_conv1", options)
    body = activation(batch_norm(body, f"{name}_bn2", options), options.net_act, f"{name}_relu1")
    body = convolution(body, filters, 3, 2 if halve else 1, f"{name}_conv2", options)
    body = squeeze_excite(batch_norm(body, f"{name}_bn3", options), filters, name, options)
    return body + (projection(data, filters, name, options) if halve else data)


def projection(data: Symbol, filters: int, name: str, options: RecognitionOptions) -> Symbol:
    """The shortcut of a unit that halves the map."""
    return batch_norm(convolution(data, filters, 1, 2, f"{name}_conv1sc", options), f"{name}_sc", options)


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


def convolution(data: Symbol, filters: int, kernel: int, stride: int, name: str, options: RecognitionOptions) -> Symbol:
    padding = {"pad": (kernel // 2, kernel // 2)} if kernel > 1 else {}
    return sym.Convolution(
        data=data,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        no_bias=True,
        workspace=options.workspace,
        name=name,
        **padding,
    )


def batch_norm(data: Symbol, name: str, options: RecognitionOptions) -> Symbol:
    return sym.BatchNorm(data=data, fix_gamma=False, eps=BN_EPS, momentum=options.bn_mom, name=name)
