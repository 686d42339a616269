"""What the heat map networks have in common below the level of a block."""

from __future__ import annotations

from mxface.graph import Symbol, sym
from mxface.symbols.layers import Conv, LayerOptions, bare_convolution, batch_norm, convolution, deformable_convolution


def deformable_3x3(data: Symbol, filters: int, name: str) -> Symbol:
    return deformable_convolution(data, filters, name, dilate=(1, 1))


def conv_bn_relu(
    data: Symbol, filters: int, name: str, options: LayerOptions, *, kernel: int = 1, deformable: bool = False
) -> Symbol:
    """A deformable convolution is 3x3."""
    if deformable:
        body = batch_norm(deformable_3x3(data, filters, f"{name}_conv"), f"{name}_bn", options)
    else:
        body = conv_bn(data, filters, name, options, kernel=kernel)
    return relu(body, f"{name}_relu")


def conv_bn(data: Symbol, filters: int, name: str, options: LayerOptions, *, kernel: int = 1) -> Symbol:
    return batch_norm(convolution(data, Conv(filters, kernel), f"{name}_conv", options), f"{name}_bn", options)


def grid_convolution(data: Symbol, filters: int, name: str, options: LayerOptions, *, groups: int = 1) -> Symbol:
    """3x3, BN, ReLU: the edges of the grids."""
    window = {"pad": (1, 1), "dilate": (1, 1), "num_group": groups}
    body = bare_convolution(data, Conv(filters, 3), f"{name}_conv", options, **window)
    return relu(batch_norm(body, f"{name}_bn", options), f"{name}_relu")


def relu(data: Symbol, name: str | None = None) -> Symbol:
    return sym.Activation(data=data, act_type="relu", name=name)


def max_pooling(data: Symbol) -> Symbol:
    """Half the size."""
    return sym.Pooling(data=data, kernel=(2, 2), stride=(2, 2), pad=(0, 0), pool_type="max")
