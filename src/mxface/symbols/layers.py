"""What the face networks have in common below the level of a block."""

from __future__ import annotations

from mxface.graph import Symbol, sym

BN_EPS = 2e-05


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
