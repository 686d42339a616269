"""Xception (x): Chollet 2017.

Differs from the paper: about half as wide (net_input 2 gives the paper's widths); unless net_input is 0 the stem keeps
full resolution; biases; each depthwise convolution is written as one convolution a channel (35 000 nodes); embedding
heads.
"""

from __future__ import annotations

from mxface.graph import Symbol, Variable, sym
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.layers import BN_EPS, normalize_pixels
from mxface.symbols.options import RecognitionOptions

WIDTHS = (64, 64, 128, 364, 512, 768, 1024)
PAPER_WIDTHS = (64, 128, 256, 728, 1024, 1536, 2048)
MIDDLE_BLOCKS = 8


def build_fxception(options: RecognitionOptions) -> Symbol:
    """Read: net_input, net_output, emb_size."""
    widths = PAPER_WIDTHS if options.net_input == 2 else WIDTHS
    body = normalize_pixels(Variable("data"))
    body = conv_bn(body, widths[0] // 2, "Entry_flow_b1_conv1", kernel=3, stride=2 if options.net_input == 0 else 1)
    body = conv_bn(relu(body, "Entry_flow_b1_conv1"), widths[0], "Entry_flow_b1_conv2", kernel=3)
    body = relu(body, "Entry_flow_b1_conv2")

    body = entry_block_2(body, widths[0], widths[1])
    body = halving_block(body, widths[1], widths[2], widths[2], "Entry_flow_b3", pool="Entry_flow_b3_pool")
    body = halving_block(body, widths[2], widths[3], widths[3], "Entry_flow_b4", pool="Entry_flow_b4_pool")
    for number in range(MIDDLE_BLOCKS):
        body = middle_block(body, widths[3], f"Middle_flow_block_{number}")
    body = halving_block(body, widths[3], widths[3], widths[4], "Exit_flow_b5", pool="Entry_flow_b5_pool")
    for number in (1, 2):
        name = f"Exit_flow_b6_sepconv{number}"
        body = relu(separable(body, widths[3 + number], widths[4 + number], name), name)
    return embedding_head(body, options)


def entry_block_2(data: Symbol, before: int, filters: int) -> Symbol:
    """Its input has just been activated, and its inner act is called after the convolution before it."""
    name = "Entry_flow_b2"
    shortcut = conv_bn(data, filters, f"{name}_conv1", stride=2)
    body = separable(data, before, filters, f"{name}_sepconv1")
    body = separable(relu(body, f"{name}_sepconv1"), filters, filters, f"{name}_sepconv2")
    return max_pooling(body, f"{name}_pool") + shortcut


def halving_block(data: Symbol, before: int, inner: int, filters: int, name: str, *, pool: str) -> Symbol:
    shortcut = conv_bn(data, filters, f"{name}_conv1", stride=2)
    body = active_separable(data, before, inner, f"{name}_sepconv1")
    body = active_separable(body, inner, filters, f"{name}_sepconv2")
    return max_pooling(body, pool) + shortcut


def middle_block(data: Symbol, filters: int, name: str) -> Symbol:
    body = data
    for number in (1, 2, 3):
        body = active_separable(body, filters, filters, f"{name}_sepconv{number}")
    return body + data


def active_separable(data: Symbol, before: int, filters: int, name: str) -> Symbol:
    return separable(relu(data, name), before, filters, name)


def separable(data: Symbol, before: int, filters: int, name: str) -> Symbol:
    """3x3 on each of the `before` channels, 1x1 to `filters`, BN."""
    channels = sym.SliceChannel(data=data, axis=1, num_outputs=before)
    depthwise = [
        convolution(channel, 1, f"{name}_depthwise_kernel_{number}", kernel=3)
        for number, channel in enumerate(channels)
    ]
    body = convolution(sym.Concat(*depthwise), filters, f"{name}_pointwise_kernel_conv2d")
    return batch_norm(body, name)


def conv_bn(data: Symbol, filters: int, name: str, *, kernel: int = 1, stride: int = 1) -> Symbol:
    return batch_norm(convolution(data, filters, f"{name}_conv2d", kernel=kernel, stride=stride), name)


def convolution(data: Symbol, filters: int, name: str, *, kernel: int = 1, stride: int = 1) -> Symbol:
    return sym.Convolution(
        data=data,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        workspace=256,
        name=name,
    )


def batch_norm(data: Symbol, name: str) -> Symbol:
    return sym.BatchNorm(data=data, fix_gamma=False, eps=BN_EPS, momentum=0.9, name=f"{name}_bn")


def relu(data: Symbol, name: str) -> Symbol:
    return sym.Activation(data=data, act_type="relu", name=f"{name}_relu")


def max_pooling(data: Symbol, name: str) -> Symbol:
    return sym.Pooling(data=data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name=name)
