"""A network small enough to make and run in a moment, saved as MXNet saves one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mxface.graph import NameManager, Symbol, Variable, save_checkpoint, sym


def tiny_symbol(emb_size: int = 16) -> Symbol:
    """`data` (N, 3, H, W) of 0..255 to `fc1_output` (N, emb_size), by one convolution with BatchNorm and PReLU."""
    with NameManager():
        data = (Variable("data") - 127.5) * 0.0078125
        body = sym.Convolution(data=data, num_filter=6, kernel=(5, 5), stride=(4, 4), no_bias=True, name="conv0")
        body = sym.BatchNorm(data=body, fix_gamma=False, eps=2e-5, name="bn0")
        body = sym.LeakyReLU(data=body, act_type="prelu", name="relu0")
        body = sym.Pooling(data=body, kernel=(7, 7), stride=(7, 7), pool_type="avg", name="pool0")
        return sym.FullyConnected(data=body, num_hidden=emb_size, name="fc1")


def save_tiny_model(
    prefix: Path, epoch: int = 1, *, size: tuple[int, int] = (112, 112), emb_size: int = 16, seed: int = 0
) -> str:
    """Write `prefix-symbol.json` and `prefix-%04d.params` with random weights; returns the prefix."""
    symbol = tiny_symbol(emb_size)
    rng = np.random.default_rng(seed)
    arg_shapes, _, aux_shapes = symbol.infer_shape(data=(1, 3, *size))
    arg_params = {
        name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in arg_shapes.items() if name != "data"
    }
    aux_params = {name: np.full(shape, name.endswith("var"), np.float32) for name, shape in aux_shapes.items()}
    save_checkpoint(str(prefix), epoch, symbol, arg_params, aux_params)
    return str(prefix)
