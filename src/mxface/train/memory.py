"""What a training process needs of memory: foretold before the first batch, measured after the last.

On the CPU that is resident memory (Linux's `VmRSS` and `VmHWM`), on a GPU what torch has allocated there. Activations
are not guessed from a table of operators: batches of two images and of four are rehearsed, every tensor that lives
is counted (`LiveBytes`), and a batch of any size follows, since all that grows with a batch grows in proportion to it.
"""

from __future__ import annotations

import math
import resource
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mxface.losses import SoftmaxHead
from mxface.losses.class_shard import expected_sample
from mxface.losses.fused_softmax import CHUNK_CLASSES, KEPT_PRODUCT_BYTES
from mxface.runtime.heap import hand_back_freed_memory
from mxface.train.learner import Learner

STATUS = Path("/proc/self/status")
MEMORY_INFO = Path("/proc/meminfo")
CGROUP_LIMIT, CGROUP_USE = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")

FLOAT32_BYTES = 4
REHEARSED = (2, 4)
"""Images of the two rehearsed batches."""

HEAP_FACTOR, SCRATCH_FACTOR, KERNELS_BYTES, WEIGHT_SCRATCH = 1.09, 3.0, 80e6, 0.45
"""What a CPU process takes over the bytes that live. Its heap has holes; oneDNN copies what a convolution reads and
writes into an order of its own, in float32, and those blocks leave the largest holes; its kernels and copies of the
weights stay. Fitted to y1 and r18 in float32 and bf16 at batches of 4 to 32, one thread (docs/LOG.md)."""

MXNET_FACTOR = 2.1
"""What MXNet takes on a CPU for each byte that it has planned: oneDNN copies maps and their gradients into an order of
its own. Fitted to y1, r18 and r50 at batches of 8 to 32, 1,000 to 100,000 classes, one thread: within 6 % of each. To
embed takes once more what is planned for as many images: within 8 % of y1 and r50."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, counts the bytes of the tensors that operators make: `now`, and at the `peak`.

    What is `known` already does not count. Scratch memory inside an operator is not seen; `largest_convolution` is what
    the backward of one reads and writes of maps, in float32.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.largest_convolution = 0
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default:
            maps = (args[0], args[1], result[0])
            size = sum(FLOAT32_BYTES * values.numel() for values in maps if values is not None)
            self.largest_convolution = max(self.largest_convolution, size)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.now -= size


@dataclass(frozen=True, kw_only=True)
class MemoryForecast:
    """Bytes that a rank will hold at its peak, by what they are for; `available` are there for `sharers` ranks."""

    parts: Mapping[str, float]
    available: float
    resident: float
    sharers: int

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether what is still to be taken, by all ranks of this machine, is there."""
        return (self.total - self.resident) * self.sharers <= self.available


def forecast_memory(
    learner: Learner,
    *,
    rank_batch_size: int,
    image_shape: tuple[int, int, int],
    process: float,
    loaded: float,
    sharers: int,
) -> MemoryForecast:
    """The forecast for a learner at its start.

    `process` is what the process held before anything was built, `loaded` what it holds of data sets and pictures,
    `sharers` the ranks on this machine (on a GPU: 1).
    """
    tensors = learner.tensors()
    on_cpu = learner.device.type == "cpu"
    live, scratch = activation_bytes(learner, rank_batch_size, image_shape)
    if on_cpu:
        weights = WEIGHT_SCRATCH * bytes_under(tensors, "backbone/")
        live = HEAP_FACTOR * live + SCRATCH_FACTOR * scratch + weights + KERNELS_BYTES
    parts = {
        "process": process if on_cpu else 0,
        "data": loaded if on_cpu else 0,
        "parameters": bytes_under(tensors, "backbone/"),
        "momentum": bytes_under(tensors, "momentum/"),
        # DDP's buckets lie beside the first batch's gradients, and the heap keeps that room
        "gradients": bytes_under(tensors, "momentum/") * (2 if on_cpu and learner.ranks.count > 1 else 1),
        "class centres": bytes_under(tensors, "head/"),
        "activations": live,
        "head": head_bytes(learner.head, rank_batch_size * learner.ranks.count)
        if isinstance(learner.head, SoftmaxHead)
        else 0,
    }
    return MemoryForecast(
        parts=parts,
        available=available_bytes(learner.device),
        resident=resident_bytes() if on_cpu else torch.cuda.memory_allocated(learner.device),
        sharers=sharers,
    )


def forecast_mxnet_memory(planned: float, *, embedded: float, process: float, loaded: float) -> MemoryForecast:
    """The forecast for MXNet on the CPU once it has bound the graph, with `planned` bytes for maps and gradients.

    Parameters, and with them gradients and momentum, are there by then; `process` and `loaded` as `forecast_memory`'s.
    `embedded` is how large the batches are that are only embedded, to verify or to mine, beside those of the training.
    """
    resident = resident_bytes()
    return MemoryForecast(
        parts={
            "process": process,
            "data": loaded,
            "parameters": max(0.0, resident - process - loaded),
            "activations": MXNET_FACTOR * planned,
            "embedding": embedded * planned,
        },
        available=available_bytes(torch.device("cpu")),
        resident=resident,
        sharers=1,
    )


def bytes_under(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Of all tensors whose name begins so."""
    return sum(tensor.nbytes for name, tensor in tensors.items() if name.startswith(prefix))


def activation_bytes(learner: Learner, batch_size: int, image_shape: tuple[int, int, int]) -> tuple[float, float]:
    """Of a batch on one rank: what lives at its peak, less the gradients; the maps of the largest convolution."""
    known = [*learner.backbone.parameters(), *learner.backbone.buffers()]
    peaks, scratches = [], []
    for count in REHEARSED:
        with LiveBytes(known) as live:
            learner.rehearse(np.zeros((count, *image_shape), np.uint8))
        peaks.append(live.peak)
        scratches.append(live.largest_convolution)
    hand_back_freed_memory()  # the rehearsals' blocks would lie in the way of the batches'
    gradients = sum(parameter.nbytes for parameter in learner.backbone.parameters() if parameter.requires_grad)
    return max(0.0, extrapolate(peaks, batch_size) - gradients), extrapolate(scratches, batch_size)


def extrapolate(values: Sequence[float], count: int) -> float:
    """What is `values` at REHEARSED, at `count`."""
    slope = (values[1] - values[0]) / (REHEARSED[1] - REHEARSED[0])
    return values[0] + slope * (count - REHEARSED[0])


def head_bytes(head: SoftmaxHead, batch_size: int) -> int:
    """The buffers of a step over the classes of this rank; `batch_size` is that of all ranks."""
    sampled = expected_sample(head.num_rows, head.config.num_classes, head.sample_rate, batch_size)
    rows = math.ceil(sampled) * head.config.sub_centres
    chunk = min(CHUNK_CLASSES[head.fc7_weight.device.type], rows)
    dim, full = head.config.emb_size, head.fc7_weight.element_size()
    product = (head.product_dtype or head.fc7_weight.dtype).itemsize
    kept_rows = rows if rows * batch_size * product <= KEPT_PRODUCT_BYTES else chunk
    total = kept_rows * batch_size * product + 2 * chunk * batch_size * full + rows * full
    total += 3 * batch_size * dim * full  # gathered embeddings, features, their gradient
    if product != full:  # copies in the products' precision, products, and those in full precision
        total += (chunk + batch_size) * (dim + batch_size) * product + (chunk + batch_size) * dim * (product + full)
    if head.sample_rate < 1:
        total += 3 * chunk * dim * full + 8 * rows
    return total


def resident_bytes() -> int:
    """What this process holds of the machine's memory; the most that it has held, where Linux's figure is not there."""
    found = _kibibytes(STATUS, "VmRSS")
    return peak_resident_bytes() if found is None else found


def peak_resident_bytes() -> int:
    """The most that this process has held."""
    found = _kibibytes(STATUS, "VmHWM")
    if found is not None:
        return found
    # counts what the parent held when it started this process, too
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held of the memory that matters: the GPU's, or the machine's."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()


def available_bytes(device: torch.device) -> float:
    """What is free: of the GPU, or of the machine and of the limit that a container has."""
    if device.type == "cuda":
        free_on_gpu, _ = torch.cuda.mem_get_info(device)
        return float(free_on_gpu)
    free = _kibibytes(MEMORY_INFO, "MemAvailable")
    available = float("inf") if free is None else float(free)
    if CGROUP_LIMIT.is_file() and CGROUP_USE.is_file() and (limit := CGROUP_LIMIT.read_text().strip()) != "max":
        available = min(available, float(limit) - float(CGROUP_USE.read_text()))
    return available


def _kibibytes(path: Path, name: str) -> int | None:
    """The figure of a line `name:  123 kB`, in bytes."""
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
