"""broadcast_*: torch broadcasts as MXNet does."""

from __future__ import annotations

import operator

import torch

from mxface.lower.registry import register

register("broadcast_add", operator.add)
register("broadcast_sub", operator.sub)
register("broadcast_mul", operator.mul)
register("broadcast_div", operator.truediv)
register("broadcast_power", operator.pow)
register("broadcast_maximum", torch.maximum)
register("broadcast_minimum", torch.minimum)
