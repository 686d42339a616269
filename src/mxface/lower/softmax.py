"""softmax, log_softmax, SoftmaxActivation."""

from __future__ import annotations

import torch
from torch import Tensor

from mxface.lower.registry import lowers


@lowers("softmax", only={"dtype": (None,)})
def softmax(data: Tensor, *, axis: int = -1, temperature: float | None = None) -> Tensor:
    """Over one axis, of data / temperature."""
    return torch.softmax(data if temperature is None else data / temperature, axis)


@lowers("log_softmax", only={"dtype": (None,)})
def log_softmax(data: Tensor, *, axis: int = -1, temperature: float | None = None) -> Tensor:
    """The logarithm of `softmax`."""
    return torch.log_softmax(data if temperature is None else data / temperature, axis)


@lowers("SoftmaxActivation")
def softmax_activation(data: Tensor, *, mode: str = "instance") -> Tensor:
    """Over the channels (`channel`), or over the last axis: MXNet's "instance" is no more than that."""
    return torch.softmax(data, 1 if mode == "channel" else -1)
