"""MobileFaceNet (y1, y2): Chen et al. 2018.

Differs from the paper: PReLU or any act; `net_blocks` sets the depth of each stage (y1 [1, 4, 6, 2] is the paper's, y2
[2, 8, 16, 4] deeper); the 7x7 global depthwise convolution is the head GDC, so other heads can take its place.
"""

from __future__ import annotations

from typing import Any

from mxface.graph import Symbol, Variable
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.layers import conv_block, conv_bn, normalize_pixels
from mxface.symbols.options import RecognitionOptions


def build_fmobilefacenet(options: RecognitionOptions) -> Symbol:
    """Read: net_blocks, net_act, net_output, emb_size, bn_mom."""
    first, second, third, fourth = options.net_blocks
    body = normalize_pixels(Variable("data"))
    body = conv_block(body, 64, "conv_1", options.net_act, kernel=3, stride=2, **batch_norm(options))  # 56
    if first == 1:
        body = conv_block(body, 64, "conv_2_dw", options.net_act, kernel=3, groups=64, **batch_norm(options))
    else:
        body = residuals(body, first, 64, 64, "res_2", options)
    body = bottleneck(body, 64, 128, "dconv_23", options, stride=2)  # 28
    body = residuals(body, second, 64, 128, "res_3", options)
    body = bottleneck(body, 128, 256, "dconv_34", options, stride=2)  # 14
    body = residuals(body, third, 128, 256, "res_4", options)
    body = bottleneck(body, 128, 512, "dconv_45", options, stride=2)  # 7
    body = residuals(body, fourth, 128, 256, "res_5", options)
    body = conv_block(body, 512, "conv_6sep", options.net_act, **batch_norm(options))
    return embedding_head(body, options)


def residuals(data: Symbol, count: int, filters: int, groups: int, name: str, options: RecognitionOptions) -> Symbol:
    """`count` bottlenecks, each added to its input."""
    for index in range(count):
        data = bottleneck(data, filters, groups, f"{name}_block{index}", options) + data
    return data


def bottleneck(
    data: Symbol, filters: int, groups: int, name: str, options: RecognitionOptions, *, stride: int = 1
) -> Symbol:
    """Widen to `groups` channels, convolve each by itself, narrow to `filters` without an activation."""
    act, bn = options.net_act, batch_norm(options)
    body = conv_block(data, groups, f"{name}_conv_sep", act, **bn)
    body = conv_block(body, groups, f"{name}_conv_dw", act, kernel=3, stride=stride, groups=groups, **bn)
    return conv_bn(body, filters, f"{name}_conv_proj", **bn)


def batch_norm(options: RecognitionOptions) -> dict[str, Any]:
    """The attributes of the body's BatchNorms."""
    return {"fix_gamma": False, "momentum": options.bn_mom}
