"""What the pyramid and the heads have in common below the level of a block."""

from __future__ import annotations

from mxface.graph import Symbol, Variable, sym
from mxface.symbols.layers import batch_norm, deformable_convolution
from mxface.symbols.retinaface.options import RetinaFaceOptions

WEIGHT_INIT = '["normal", {"sigma": 0.01}]'
BIAS_INIT = '["constant", {"value": 0.0}]'
ZERO_INIT = '["zero", {}]'
OFFSET_LR_MULT = 0.1
TAPS = 9


def conv_bn_relu(
    data: Symbol,
    filters: int,
    name: str,
    options: RetinaFaceOptions,
    *,
    kernel: int = 3,
    stride: int = 1,
    active: bool = True,
    bias_wd_mult: float = 0.0,
) -> Symbol:
    """Without the ReLU unless `active`. Under use_dcn 2 a 3x3 is deformable."""
    if options.use_dcn > 1 and kernel == 3 and stride == 1:
        return deformable_bn_relu(data, filters, name, options, active=active)
    weight, bias = parameters(name, bias_wd_mult)
    body = convolution(data, filters, name, weight, bias, kernel=kernel, stride=stride)
    body = batch_norm(body, f"{name}_bn", options)
    return relu(body, f"{name}_relu") if active else body


def deformable_bn_relu(
    data: Symbol, filters: int, name: str, options: RetinaFaceOptions, *, active: bool = True
) -> Symbol:
    if options.use_dcn == 1:
        body = deformable_convolution(data, filters, f"{name}_conv")
    else:
        body = modulated_convolution(data, filters, f"{name}_conv2")
    body = batch_norm(body, f"{name}_bn", options)
    return relu(body, f"{name}_act") if active else body


def modulated_convolution(data: Symbol, filters: int, name: str) -> Symbol:
    """3x3; one convolution, zero at first, says where its taps are and, through a sigmoid, what each counts."""
    window = {"kernel": (3, 3), "stride": (1, 1), "pad": (1, 1)}
    weight, bias = (
        Variable(f"{name}_offset_{what}", init=ZERO_INIT, lr_mult=OFFSET_LR_MULT) for what in ("weight", "bias")
    )
    moves = sym.Convolution(
        data=data,
        weight=weight,
        bias=bias,
        num_filter=3 * TAPS,
        lr_mult=OFFSET_LR_MULT,
        name=f"{name}_offset",
        **window,
    )
    offset = sym.slice_axis(moves, axis=1, begin=0, end=2 * TAPS)
    mask = sym.slice_axis(moves, axis=1, begin=2 * TAPS, end=None)
    return sym._contrib_ModulatedDeformableConvolution(
        data=data,
        offset=offset,
        mask=sym.Activation(mask, act_type="sigmoid") * 2,
        num_filter=filters,
        num_deformable_group=1,
        no_bias=True,
        name=name,
        **window,
    )


def convolution(
    data: Symbol, filters: int, name: str, weight: Symbol, bias: Symbol, *, kernel: int = 1, stride: int = 1
) -> Symbol:
    return sym.Convolution(
        data=data,
        weight=weight,
        bias=bias,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        name=name,
    )


def parameters(name: str, bias_wd_mult: float = 0.0) -> tuple[Symbol, Symbol]:
    """Weight and bias. Caffe's rule: the bias learns twice as fast."""
    weight = Variable(f"{name}_weight", init=WEIGHT_INIT, lr_mult=1.0)
    return weight, Variable(f"{name}_bias", init=BIAS_INIT, lr_mult=2.0, wd_mult=bias_wd_mult)


def relu(data: Symbol, name: str) -> Symbol:
    return sym.Activation(data=data, act_type="relu", name=name)
