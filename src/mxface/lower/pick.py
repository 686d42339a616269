"""pick."""

from __future__ import annotations

from torch import Tensor

from mxface.lower.registry import lowers


@lowers("pick")
def pick(data: Tensor, index: Tensor, *, axis: int = -1, keepdims: bool = False, mode: str = "clip") -> Tensor:
    """Of each row along `axis`, the element that `index` names; one outside is clipped or wraps round."""
    size = data.shape[axis]
    positions = index.long().clamp(0, size - 1) if mode == "clip" else index.long().remainder(size)
    if positions.dim() < data.dim():
        positions = positions.unsqueeze(axis)
    picked = data.gather(axis, positions)
    return picked if keepdims else picked.squeeze(axis)
