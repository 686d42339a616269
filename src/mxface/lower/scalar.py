"""Arithmetic of an array and a number."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mxface.lower.registry import lowers, register


def subtract_from(data: Tensor, scalar: float) -> Tensor:
    """scalar - data."""
    return scalar - data


def divide_into(data: Tensor, scalar: float) -> Tensor:
    """scalar / data."""
    return scalar / data


def raise_scalar(data: Tensor, scalar: float) -> Tensor:
    """scalar to the power of data."""
    return scalar**data


def at_least(data: Tensor, scalar: float) -> Tensor:
    """The larger of data and scalar."""
    return data.clamp(min=scalar)


def at_most(data: Tensor, scalar: float) -> Tensor:
    """The smaller of data and scalar."""
    return data.clamp(max=scalar)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_plus_scalar": operator.add,
    "_minus_scalar": operator.sub,
    "_rminus_scalar": subtract_from,
    "_mul_scalar": operator.mul,
    "_div_scalar": operator.truediv,
    "_rdiv_scalar": divide_into,
    "_power_scalar": operator.pow,
    "_rpower_scalar": raise_scalar,
    "_maximum_scalar": at_least,
    "_minimum_scalar": at_most,
}

for name, function in FUNCTIONS.items():
    register(name, function, positional=("scalar",), hints=("is_int",))


@lowers("clip")
def clip(data: Tensor, *, a_min: float, a_max: float) -> Tensor:
    """Values outside of the range become its ends."""
    return data.clamp(a_min, a_max)


@lowers("smooth_l1")
def smooth_l1(data: Tensor, *, scalar: float) -> Tensor:
    """0.5 (scalar x)^2 where |x| < 1 / scalar^2, |x| - 0.5 / scalar^2 elsewhere."""
    return F.smooth_l1_loss(data, data.new_zeros(()).expand_as(data), reduction="none", beta=1.0 / scalar**2)
