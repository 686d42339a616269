"""Functions that bring their own gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def apply(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    """`function.apply`, which torch leaves untyped, for functions of one result."""
    result: Tensor = function.apply(*args)  # type: ignore[no-untyped-call]
    return result
