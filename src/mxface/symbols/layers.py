"""What the face networks have in common below the level of a block."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from mxface.graph import Symbol, sym

BN_EPS = 2e-05


class Conv(NamedTuple):
    """What a residual or dense unit says of one of its convolutions."""

    filters: int
    kernel: int
    stride: int = 1


class BatchNormOptions(Protocol):
    """`bn_mom` is the weight of the old value in the moving statistics."""

    @property
    def bn_mom(self) -> float: ...


class LayerOptions(BatchNormOptions, Protocol):
    """`workspace` is MXNet's scratch memory for a convolution, in MB."""

    @property
    def workspace(self) -> int: ...


def normalize_pixels(data: Symbol) -> Symbol:
    """Pixels 0…255 to about -1…1, inside the network: (x - 127.5) / 128."""
    return (data - 127.5) * 0.0078125


def activation(data: Symbol, act_type: str, name: str) -> Symbol:
    """PReLU with one slope a channel, or any act_type of MXNet's Activation."""
    if act_type == "prelu":
        return sym.LeakyReLU(data=data, act_type=act_type, name=name)
    return sym.Activation(data=data, act_type=act_type, name=name)


def global_average(data: Symbol, name: str | None = None) -> Symbol:
    """The mean of each map. The kernel is ignored; it stands in the graph because 2019 passed it."""
    return sym.Pooling(data=data, global_pool=True, kernel=(7, 7), pool_type="avg", name=name)


def convolution(data: Symbol, conv: Conv, name: str, options: LayerOptions) -> Symbol:
    """Without bias; it keeps the size but for the stride."""
    half = conv.kernel // 2
    return bare_convolution(data, conv, name, options, pad=(half, half))


def bare_convolution(data: Symbol, conv: Conv, name: str, options: LayerOptions, **window: Any) -> Symbol:
    """The same with no pad but what `window` says: 2019 passed none to the 1x1 of a shortcut."""
    return sym.Convolution(
        data=data,
        num_filter=conv.filters,
        kernel=(conv.kernel, conv.kernel),
        stride=(conv.stride, conv.stride),
        no_bias=True,
        workspace=options.workspace,
        name=name,
        **window,
    )


def batch_norm(data: Symbol, name: str, options: BatchNormOptions) -> Symbol:
    return sym.BatchNorm(data=data, fix_gamma=False, eps=BN_EPS, momentum=options.bn_mom, name=name)


def deformable_convolution(data: Symbol, filters: int, name: str, **more: Any) -> Symbol:
    """3x3, its offsets by a 3x3, both with bias; `more` are attributes of the convolution itself."""
    window = {"kernel": (3, 3), "stride": (1, 1), "pad": (1, 1)}
    offset = sym.Convolution(data=data, num_filter=18, name=f"{name}_offset", **window)
    return sym._contrib_DeformableConvolution(
        data=data,
        offset=offset,
        num_filter=filters,
        num_deformable_group=1,
        no_bias=False,
        name=name,
        **window,
        **more,
    )


def conv_block(
    data: Symbol,
    filters: int,
    name: str,
    act_type: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    **bn: Any,
) -> Symbol:
    """The mobile networks' convolution, BN, act."""
    body = conv_bn(data, filters, name, kernel=kernel, stride=stride, groups=groups, **bn)
    return activation(body, act_type, f"{name}_relu")


def conv_bn(
    data: Symbol, filters: int, name: str, *, kernel: int = 1, stride: int = 1, groups: int = 1, **bn: Any
) -> Symbol:
    """Convolution that keeps the size (but for the stride), and BN with the attributes `bn`."""
    convolved = sym.Convolution(
        data=data,
        num_filter=filters,
        kernel=(kernel, kernel),
        num_group=groups,
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        no_bias=True,
        name=f"{name}_conv2d",
    )
    return sym.BatchNorm(data=convolved, name=f"{name}_batchnorm", **bn)


def double(data: Symbol, name: str) -> Symbol:
    """Twice the size, every value repeated."""
    return sym.UpSampling(data, scale=2, sample_type="nearest", workspace=512, num_args=1, name=name)
