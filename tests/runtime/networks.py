"""Small networks with random parameters, for the tests of runtime and export."""

from __future__ import annotations

import numpy as np

from mxface.graph import Checkpoint, Group, Symbol, sym


def random_checkpoint(symbol: Symbol, image_shape: tuple[int, int, int], seed: int = 5) -> Checkpoint:
    """Parameters that fit images of this shape (C, H, W)."""
    rng = np.random.default_rng(seed)
    arguments, _, states = symbol.infer_shape(data=(1, *image_shape))

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith("_weight"):
            return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        low, high = (0.5, 1.5) if name.endswith(("_gamma", "_var")) else (-0.5, 0.5)
        return rng.uniform(low, high, shape).astype(np.float32)

    drawn_arguments = {
        name: draw(name, shape) for name, shape in arguments.items() if name not in ("data", "softmax_label")
    }
    return Checkpoint(symbol, drawn_arguments, {name: draw(name, shape) for name, shape in states.items()})


def convolution_unit(data: Symbol, filters: int, name: str, **attrs: object) -> Symbol:
    conv = sym.Convolution(data, num_filter=filters, name=f"{name}_conv", **attrs)
    norm = sym.BatchNorm(conv, fix_gamma=False, eps=2e-05, name=f"{name}_bn")
    return sym.LeakyReLU(norm, act_type="prelu", name=f"{name}_relu")


def normalized(data: Symbol) -> Symbol:
    return (data - 127.5) * 0.0078125


def embedding_network() -> Symbol:
    """Everything that folding must tell apart, for 12x12 images; `fc1_output` (N, 5)."""
    data = normalized(sym.Variable("data"))
    plain = convolution_unit(data, 8, "plain", kernel=(3, 3), stride=(2, 2), pad=(1, 1), no_bias=True)
    biased = convolution_unit(plain, 8, "biased", kernel=(3, 3), pad=(1, 1), num_group=8)
    leading = sym.BatchNorm(biased, name="leading_bn")  # before a padded convolution: cannot be folded
    branch = sym.Convolution(leading, num_filter=8, kernel=(3, 3), pad=(1, 1), no_bias=True, name="branch_conv")
    both = sym.BatchNorm(branch, name="branch_bn") + branch  # the convolution is read twice: cannot be folded
    dropped = sym.Dropout(both + plain, p=0.4, name="dropout0")
    return sym.BatchNorm(sym.FullyConnected(dropped, num_hidden=5, name="pre_fc1"), eps=2e-05, name="fc1")


def shared_network() -> Symbol:
    """One weight under two BatchNorms."""
    data, weight = normalized(sym.Variable("data")), sym.Variable("shared_weight")
    heads = [
        sym.BatchNorm(
            sym.Convolution(data, weight, num_filter=4, kernel=(3, 3), no_bias=True, name=f"{name}_conv"),
            name=f"{name}_bn",
        )
        for name in ("a", "b")
    ]
    return Group(heads)


def batch_mean_network() -> Symbol:
    """As GNAP: what comes out depends on the other images of the batch."""
    data = normalized(sym.Variable("data"))
    return sym.broadcast_div(data, sym.mean(data, name="mean0"), name="fc1")
