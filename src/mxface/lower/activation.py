"""Activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mxface.lower.registry import lowers

FUNCTIONS = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softrelu": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
}


@lowers("Activation")
def activation(data: Tensor, *, act_type: str) -> Tensor:
    """Apply the non-linearity to every element."""
    return FUNCTIONS[act_type](data)
