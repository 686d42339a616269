"""Layers as Gluon writes them into a graph: some networks of 2019 are Gluon blocks that were called with a symbol.

A layer is called prefix of its block + kind + counter (`mnasnet0_stage1_conv0_`), its operator `…_fwd`; its parameters
are variables with notes for Gluon's trainer, `__shape__` among them (0 = not known when the layer was made). Counters
follow the order in which layers are made.
"""

from __future__ import annotations

from typing import Any

from mxface.graph import NameManager, Symbol, Variable, sym
from mxface.graph.naming import automatic_name

BN_EPS = 1e-05
BN_MOMENTUM = 0.9
SLOPE_INIT = '["constant", {"value": 0.25}]'


class Block:
    """Where layers are made: a prefix, and a counter for each kind of layer.

    Without a prefix the counters are those of unnamed nodes, as for Gluon layers made outside of any name scope.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._names = NameManager()

    def child(self, kind: str) -> Block:
        """The next block of this kind in here."""
        return Block(f"{self._next(kind)}_")

    def scope(self, name: str) -> Block:
        """A block in here that has a name instead of a number."""
        return Block(f"{self.prefix}{name}_")

    def operator(self, function: str, *inputs: Symbol, **params: Any) -> Symbol:
        """An operator that is no layer: it has no `_fwd`."""
        symbol: Symbol = getattr(sym, function)(*inputs, name=self._next(function.lower()), **params)
        return symbol

    def convolution(
        self,
        data: Symbol,
        filters: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        in_channels: int = 0,
    ) -> Symbol:
        """Without bias; `pad` keeps the size if it is not given. `in_channels` only notes the weight's shape."""
        layer = self._next("conv")
        pad = kernel // 2 if pad is None else pad
        return sym.Convolution(
            data,
            parameter(f"{layer}_weight", (filters, in_channels // groups, kernel, kernel)),
            dilate=(1, 1),
            kernel=(kernel, kernel),
            layout="NCHW",
            no_bias=True,
            num_filter=filters,
            num_group=groups,
            pad=(pad, pad),
            stride=(stride, stride),
            name=f"{layer}_fwd",
        )

    def conv_bn(self, data: Symbol, filters: int, kernel: int = 1, **window: int) -> Symbol:
        """`window` is the convolution's."""
        return self.batch_norm(self.convolution(data, filters, kernel, **window))

    def conv_block(self, data: Symbol, filters: int, kernel: int, act_type: str, **window: int) -> Symbol:
        """Convolution, BN, act."""
        return self.activation(self.conv_bn(data, filters, kernel, **window), act_type)

    def batch_norm(self, data: Symbol, *, eps: float = BN_EPS, momentum: float = BN_MOMENTUM) -> Symbol:
        layer = self._next("batchnorm")
        states = {"gamma": "ones", "beta": "zeros", "running_mean": "zeros", "running_var": "ones"}
        return sym.BatchNorm(
            data,
            *(parameter(f"{layer}_{state}", (0,), init) for state, init in states.items()),
            axis=1,
            eps=eps,
            fix_gamma=False,
            momentum=momentum,
            use_global_stats=False,
            name=f"{layer}_fwd",
        )

    def activation(self, data: Symbol, act_type: str) -> Symbol:
        """PReLU with one slope for all channels, or any act_type of MXNet's Activation."""
        layer = self._next(act_type)
        if act_type == "prelu":
            slope = parameter(f"{layer}_alpha", (1,), SLOPE_INIT)
            return sym.LeakyReLU(data, slope, act_type=act_type, name=f"{layer}_fwd")
        return sym.Activation(data, act_type=act_type, name=f"{layer}_fwd")

    def max_pooling(self, data: Symbol, kernel: int, *, stride: int, pad: int = 0) -> Symbol:
        return self._pooling(data, kernel, stride, pad, pool_type="max")

    def average_pooling(self, data: Symbol, kernel: int, *, stride: int, pad: int = 0) -> Symbol:
        """The padding counts."""
        return self._pooling(data, kernel, stride, pad, pool_type="avg", count_include_pad=True)

    def dropout(self, data: Symbol, rate: float) -> Symbol:
        return sym.Dropout(data, p=rate, axes=(), cudnn_off=False, name=f"{self._next('dropout')}_fwd")

    def skip(self, *kinds: str) -> None:
        """Count layers that were made and never used."""
        for kind in kinds:
            self._next(kind)

    def _pooling(self, data: Symbol, kernel: int, stride: int, pad: int, **params: Any) -> Symbol:
        return sym.Pooling(
            data,
            global_pool=False,
            kernel=(kernel, kernel),
            layout="NCHW",
            pad=(pad, pad),
            pooling_convention="valid",
            stride=(stride, stride),
            name=f"{self._next('pool')}_fwd",
            **params,
        )

    def _next(self, kind: str) -> str:
        return self.prefix + self._names.get(None, kind) if self.prefix else automatic_name(None, kind)


def parameter(name: str, shape: tuple[int, ...], init: str | None = None) -> Symbol:
    """A variable as Gluon declares one; 0 stands for float32 and for dense storage."""
    return Variable(
        name, shape=shape, lr_mult=1.0, wd_mult=1.0, init=init, attr={"__dtype__": "0", "__storage_type__": "0"}
    )
