"""From the last feature map to the embedding `fc1`: 2019's `net_output` letters.

    Z     BN, dropout; stays a feature map
    E     BN, dropout, FC, BN                     the paper's choice
    FC, I BN, FC, BN                              one graph, two names
    F     BN, dropout, FC          G  BN, FC          H  FC          J  FC, BN
    GAP   BN, act, global average, FC, BN
    GDC   7x7 depthwise convolution, BN, FC, BN   MobileFaceNet's
    GNAP  BN, norms evened out over the map, global average, BN [, FC, BN]

and in src/symbols and gender-age, where FC is B:

    A     BN, act, global average     B  A, FC     C  GAP     D  GAP, act     AX … DX  dropout 0.2 behind the average

The last BN of each has no gamma of its own (fix_gamma). FC flattens its input.
"""

from __future__ import annotations

from mxface.graph import Symbol, sym
from mxface.symbols.layers import BN_EPS, activation, global_average
from mxface.symbols.options import RecognitionOptions

GNAP_MOMENTUM = 0.9
DROPOUT = 0.4
AVERAGE_DROPOUT = 0.2


def embedding_head(body: Symbol, options: RecognitionOptions, *, gdc_filters: int = 512) -> Symbol:
    """The head that `options.net_output` names, on the last feature map.

    `gdc_filters` should be the channels of `body`; only GDC reads it.
    """
    match options.head:
        case "Z":
            return sym.Dropout(data=first_bn(body, options), p=DROPOUT)
        case "E":
            features = sym.Dropout(data=first_bn(body, options), p=DROPOUT)
            return fully_connected_bn(features, options)
        case "FC" | "I":
            return fully_connected_bn(first_bn(body, options), options)
        case "F":
            features = sym.Dropout(data=first_bn(body, options), p=DROPOUT)
            return fully_connected(features, options, name="fc1")
        case "G":
            return fully_connected(first_bn(body, options), options, name="fc1")
        case "H":
            return fully_connected(body, options, name="fc1")
        case "J":
            return fully_connected_bn(body, options)
        case "A" | "AX":
            return average(body, options)
        case "B" | "BX":
            return fully_connected(average(body, options), options, name="pre_fc1")
        case "GAP" | "C" | "CX":
            return fully_connected_bn(average(body, options), options)
        case "D" | "DX":
            return activation(fully_connected_bn(average(body, options), options), options.head_act, "fc1_relu")
        case "GDC":
            return fully_connected_bn(global_depthwise(body, options, gdc_filters), options)
        case "GNAP":
            return norm_aware_pooling(body, options)
        case other:
            raise AssertionError(f"{type(options).__name__} let net_output={options.net_output} pass, read as {other}")


def first_bn(body: Symbol, options: RecognitionOptions) -> Symbol:
    return sym.BatchNorm(data=body, fix_gamma=False, eps=BN_EPS, momentum=options.head_bn_mom, name="bn1")


def average(body: Symbol, options: RecognitionOptions) -> Symbol:
    """The mean of each map, flat, with dropout if the head's second letter asks for it."""
    active = activation(first_bn(body, options), options.head_act, "relu1")
    features = sym.Flatten(data=global_average(active, "pool1"))
    return sym.Dropout(data=features, p=AVERAGE_DROPOUT) if options.head.endswith("X") else features


def fully_connected(features: Symbol, options: RecognitionOptions, *, name: str) -> Symbol:
    return sym.FullyConnected(data=features, num_hidden=options.emb_size, name=name)


def fully_connected_bn(features: Symbol, options: RecognitionOptions) -> Symbol:
    return last_bn(fully_connected(features, options, name="pre_fc1"), options.head_bn_mom)


def last_bn(embedding: Symbol, momentum: float) -> Symbol:
    return sym.BatchNorm(data=embedding, fix_gamma=True, eps=BN_EPS, momentum=momentum, name="fc1")


def global_depthwise(body: Symbol, options: RecognitionOptions, filters: int) -> Symbol:
    """One learned 7x7 weighting a channel in place of an average."""
    convolved = sym.Convolution(
        data=body,
        num_filter=filters,
        num_group=filters,
        kernel=(7, 7),
        pad=(0, 0),
        stride=(1, 1),
        no_bias=True,
        name="conv_6dw7_7_conv2d",
    )
    return sym.BatchNorm(data=convolved, fix_gamma=False, momentum=options.head_bn_mom, name="conv_6dw7_7_batchnorm")


def norm_aware_pooling(body: Symbol, options: RecognitionOptions) -> Symbol:
    """Global norm-aware pooling (GNAP): every position gets the mean feature norm, then a global average.

    The mean is over the whole batch, as in 2019, so an embedding depends a little on the images beside it.
    """
    filters = 512
    if options.emb_size > filters:
        filters = options.emb_size
        body = sym.Convolution(
            data=body, num_filter=filters, kernel=(1, 1), stride=(1, 1), pad=(0, 0), no_bias=True, name="convx"
        )
        body = gnap_bn(body, "convx_bn", fix_gamma=False)
        body = activation(body, options.head_act, "convx_relu")
    body = gnap_bn(body, "bn6f")
    norms = sym.sqrt(sym.sum(body * body, axis=1, keepdims=True))
    ratio = sym.broadcast_div(sym.mean(norms), norms)
    pooled = global_average(body * sym.tile(ratio, reps=(1, filters, 1, 1)))
    if options.emb_size < filters:
        features = fully_connected(gnap_bn(pooled, "bn6w"), options, name="pre_fc1")
    else:
        features = sym.Flatten(data=pooled)
    return last_bn(features, GNAP_MOMENTUM)


def gnap_bn(data: Symbol, name: str, *, fix_gamma: bool = True) -> Symbol:
    return sym.BatchNorm(data=data, fix_gamma=fix_gamma, eps=BN_EPS, momentum=GNAP_MOMENTUM, name=name)
