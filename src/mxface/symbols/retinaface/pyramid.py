"""The feature pyramid (FPN, Lin et al. 2017): maps of equal width at every stride, each knowing of those above."""

from __future__ import annotations

from functools import partial

from mxface.errors import ConfigError
from mxface.graph import Symbol, sym
from mxface.symbols.layers import double
from mxface.symbols.retinaface.layers import conv_bn_relu
from mxface.symbols.retinaface.options import SIZE, RetinaFaceOptions

BACKBONE_STRIDES = (4, 8, 16, 32)


def feature_pyramid(options: RetinaFaceOptions) -> dict[int, Symbol]:
    """Stride -> map of head_filter_num channels."""
    layers = backbone_layers(options.backbone, options.max_feat_channel)
    # weight decay reaches the biases here, not those of the heads
    block = partial(conv_bn_relu, filters=options.head_filter_num, options=options, bias_wd_mult=1.0)
    c3 = block(layers[32], name="rf_c3_lateral", kernel=1)
    c2 = block(layers[16], name="rf_c2_lateral", kernel=1)
    c2 = block(add_from_above(c2, c3, "rf_c3_upsampling", options), name="rf_c2_aggr")
    c1 = block(layers[8], name="rf_c1_red_conv", kernel=1)
    c1 = block(add_from_above(c1, c2, "rf_c2_upsampling", options), name="rf_c1_aggr")
    pyramid = {32: c3, 16: c2, 8: c1}
    if 4 in options.rpn_feat_stride:
        c0 = block(layers[4], name="rf_c0_lateral", kernel=1)
        pyramid[4] = block(add_from_above(c0, c1, "rf_c1_upsampling", options), name="rf_c0_aggr")
    if max(options.rpn_feat_stride) >= 64:
        pyramid[64] = block(c3, name="rf_c4", stride=2)
    if max(options.rpn_feat_stride) >= 128:
        pyramid[128] = block(pyramid[64], name="rf_c5", stride=2)
    return pyramid


def add_from_above(lateral: Symbol, above: Symbol, name: str, options: RetinaFaceOptions) -> Symbol:
    enlarged = double(above, name)
    return lateral + (sym.Crop(enlarged, lateral) if options.use_crop else enlarged)


def backbone_layers(backbone: Symbol, max_channels: int) -> dict[int, Symbol]:
    """The last map of each stride, before the first one of more than `max_channels`.

    Raises ConfigError where one of the strides 4, 8, 16 and 32 has none.
    """
    internals = backbone.get_internals()
    _, shapes, _ = internals.infer_shape(data=(1, 3, SIZE, SIZE))
    layers: dict[int, Symbol] = {}
    for layer, name, shape in zip(internals, internals.list_outputs(), shapes, strict=True):
        if not name.endswith("_output") or len(shape) != 4:
            continue
        if shape[1] > max_channels:
            break
        if SIZE % shape[2] == 0:
            layers[SIZE // shape[2]] = layer
    missing = [stride for stride in BACKBONE_STRIDES if stride not in layers]
    if missing:
        raise ConfigError(
            f"the backbone has no map of at most max_feat_channel={max_channels} channels with stride "
            f"{', '.join(map(str, missing))} (it has strides {', '.join(map(str, sorted(layers))) or 'none'})"
        )
    return layers
