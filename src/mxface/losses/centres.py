"""The class centres that one step works on: all of this rank's, or a sample of them, chunk by chunk.

The two passes of `fused_softmax` take a chunk of rows, change it and put it back. Of all rows a chunk is a view; of
sampled rows it is a copy small enough for the cache, so that a step reads and writes the sampled rows only.

Legend: N rows of this rank, D embedding size, K rows of one chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NO_ROW = -1


class Workspace:
    """Named buffers that outlive a step.

    glibc hands every large block back to the kernel; faulting it in again costs more than the arithmetic on it.
    """

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def matrix(self, name: str, shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """An uninitialised matrix on the device of `like`, of its dtype unless told otherwise."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size or flat.dtype != (dtype or like.dtype) or flat.device != like.device:
            flat = self._flat[name] = like.new_empty(size, dtype=dtype)
        return flat[:size].view(shape)


class Chunk(NamedTuple):
    """What is learned of some rows, (K, D) and (K,), each beside its momentum buffer; no bias: None twice."""

    weight: Tensor
    weight_momentum: Tensor
    bias: Tensor | None = None
    bias_momentum: Tensor | None = None


class Centres:
    """All rows: `tensors` are (N, D) and (N,)."""

    def __init__(self, tensors: Chunk) -> None:
        self._tensors = tensors
        self.num_rows = len(tensors.weight)

    def read(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """Weight (K, D) and bias (K,) of rows [start, stop), not to be changed."""
        weight, _, bias, _ = self._tensors
        return weight[start:stop], None if bias is None else bias[start:stop]

    def take(self, start: int, stop: int) -> Chunk:
        """Rows [start, stop), to be changed in place and then `put` back."""
        return Chunk(*(None if tensor is None else tensor[start:stop] for tensor in self._tensors))  # type: ignore[arg-type]

    def put(self, start: int, stop: int, chunk: Chunk) -> None:
        """Write back what `take` gave: nothing to do, it was a view."""

    def position(self, row: Tensor) -> Tensor:
        """Where rows (B,) of this rank, or NO_ROW, stand among those of the step: NO_ROW for those that do not."""
        return row


class SampledCentres(Centres):
    """The rows `sample` (S,), ascending, of all rows; the others are neither read nor written."""

    def __init__(self, tensors: Chunk, sample: Tensor, workspace: Workspace) -> None:
        super().__init__(tensors)
        self._sample = sample
        self._workspace = workspace
        self.num_rows = len(sample)

    def read(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """Weight (K, D) and bias (K,) of sampled rows [start, stop): copies, valid until the next call."""
        weight, bias = (self._copy(name, start, stop) for name in ("weight", "bias"))
        assert weight is not None
        return weight, bias

    def take(self, start: int, stop: int) -> Chunk:
        """Copies of sampled rows [start, stop), valid until the next call."""
        return Chunk(*(self._copy(name, start, stop) for name in Chunk._fields))  # type: ignore[arg-type]

    def put(self, start: int, stop: int, chunk: Chunk) -> None:
        """Write back what `take` gave, changed."""
        for tensor, rows in zip(self._tensors, chunk, strict=True):
            if tensor is not None and rows is not None:
                tensor.index_copy_(0, self._sample[start:stop], rows)

    def position(self, row: Tensor) -> Tensor:
        """Where rows (B,) of this rank, or NO_ROW, stand in the sample; all but NO_ROW must be in it."""
        return torch.where(row == NO_ROW, NO_ROW, torch.searchsorted(self._sample, row))

    def _copy(self, name: str, start: int, stop: int) -> Tensor | None:
        tensor: Tensor | None = getattr(self._tensors, name)
        if tensor is None:
            return None
        rows = self._workspace.matrix(f"sampled {name}", (stop - start, *tensor.shape[1:]), like=tensor)
        return torch.index_select(tensor, 0, self._sample[start:stop], out=rows)
