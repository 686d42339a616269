"""The default engine: the lowered network with BatchNorm folded, weights packed, channels last, in bounded chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mxface.graph import Symbol
from mxface.lower import lower
from mxface.ops.reduce import reduced_axes
from mxface.runtime.fold import fold_batch_norm
from mxface.runtime.heap import keep_freed_memory
from mxface.runtime.packed import can_pack, pack_layers
from mxface.runtime.predictor import DATA, Predictor

CHUNK_VALUES = 8 * 3 * 112 * 112
"""Input values that go through a CPU at once: 8 faces. The maps of more leave the cache (docs/LOG.md)."""

CHUNK_MEBIBYTES = 64
"""Memory that the maps of one chunk take, kept for those of the next."""

REDUCTIONS = ("sum", "mean", "max", "min")

TORCH_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class TorchPredictor(Predictor):
    """Runs on "cpu" or a "cuda:…" device."""

    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray], *, device: str, dtype: str) -> None:
        super().__init__(symbol, params)
        self._device = torch.device(device)
        self._dtype = TORCH_DTYPES[dtype]
        network = fold_batch_norm(lower(symbol, params, inputs=(DATA,)).eval())
        self._is_packed = self._device.type == "cpu" and can_pack()
        if self._is_packed:
            network = pack_layers(network, self._dtype)
        network.requires_grad_(False).to(self._device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._device.type == "cpu":
            keep_freed_memory(CHUNK_MEBIBYTES)
        elif self._dtype == torch.float32:
            torch.backends.cudnn.allow_tf32 = False  # its 10-bit products would be off by more than 1e-4
        self._whole_batches = self._device.type != "cpu" or mixes_images(symbol)

    def _run(self, data: np.ndarray) -> list[NDArray[np.float32]]:
        with torch.inference_mode(), self._precision():
            parts = [self._run_chunk(chunk) for chunk in self._chunks(data)]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def _run_chunk(self, data: np.ndarray) -> list[NDArray[np.float32]]:
        results = self._network(self._to_tensor(data))
        heads: tuple[Tensor, ...] = (results,) if isinstance(results, Tensor) else results
        return [head.float().cpu().numpy() for head in heads]

    def _chunks(self, data: np.ndarray) -> Iterator[np.ndarray]:
        size = len(data) if self._whole_batches else max(1, CHUNK_VALUES // data[0].size)
        return (data[start : start + size] for start in range(0, len(data), size))

    def _to_tensor(self, data: np.ndarray) -> Tensor:
        if not data.flags.writeable or min(data.strides) < 0:
            data = data.copy(order="K")  # torch takes neither; this keeps the order of axes, hence channels last
        tensor = torch.from_numpy(data).to(self._device)  # uint8 until it is there: a quarter of the bytes
        return tensor.to(torch.float32, memory_format=torch.channels_last)

    def _precision(self) -> AbstractContextManager[object]:
        if self._is_packed or self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self._dtype)


def mixes_images(symbol: Symbol) -> bool:
    """Does an output depend on the other images of the batch (GNAP's mean over everything)? Then it cannot be cut."""
    return any(node.op in REDUCTIONS and 0 in reduced_axes(node.params, rank=4) for node in symbol.nodes)
