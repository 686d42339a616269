"""elemwise_*, add_n."""

from __future__ import annotations

import operator
from functools import reduce

import torch
from torch import Tensor

from mxface.lower.registry import lowers, register

register("elemwise_add", operator.add)
register("elemwise_sub", operator.sub)
register("elemwise_mul", operator.mul)
register("elemwise_div", operator.truediv)
register("_power", operator.pow)
register("_maximum", torch.maximum)
register("_minimum", torch.minimum)


@lowers("add_n", hints=("num_args",))
def add_n(*arrays: Tensor) -> Tensor:
    """The sum of the arrays."""
    return reduce(operator.add, arrays)
