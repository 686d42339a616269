"""Functions of one number."""

from __future__ import annotations

import torch

from mxface.lower.registry import register

FUNCTIONS = {
    "abs": torch.abs,
    "arccos": torch.acos,
    "arcsin": torch.asin,
    "arctan": torch.atan,
    "cos": torch.cos,
    "exp": torch.exp,
    "log": torch.log,
    "negative": torch.neg,
    "relu": torch.relu,
    "rsqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}

for name, function in FUNCTIONS.items():
    register(name, function)
