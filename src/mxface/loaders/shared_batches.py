"""The memory that a loader shares with the processes that decode for it: where the records lie, and slots for batches.

It has no name, so nothing is left behind however the processes end, and no mount such as /dev/shm bounds it.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mxface.errors import DataError
from mxface.loaders.batch import Batch


@dataclass(frozen=True, kw_only=True)
class SharedShape:
    """The sizes that decide where everything lies; plain values, to be told to another process.

    max_order: images that an epoch's order can have. slot_shape: (b, H, W, 3), the images of a batch. slot_dtype: uint8
    or float32.
    """

    num_images: int
    max_order: int
    num_slots: int
    slot_shape: tuple[int, int, int, int]
    slot_dtype: str

    def parts(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and type of offsets, ends, order, labels, indices and pixels, which lie in the memory in this order."""
        of_images, of_rows = (self.num_images,), (self.num_slots, self.slot_shape[0])
        numbers: list[tuple[int, ...]] = [of_images, of_images, (self.max_order,), of_rows, of_rows]
        return [*((shape, "int64") for shape in numbers), ((self.num_slots, *self.slot_shape), self.slot_dtype)]

    @property
    def size(self) -> int:
        """Bytes of it all."""
        return sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in self.parts())


class SharedBatches:
    """Arrays in the memory behind descriptor `file`.

    int64 `offsets` and `ends` (num_images,), where records begin and end, and `order` (max_order,), the epoch's, are
    the loader's to write; `slots` are the workers'.
    """

    def __init__(self, file: int, shape: SharedShape) -> None:
        memory = mmap.mmap(file, shape.size)
        arrays: list[npt.NDArray[Any]] = []
        offset = 0
        for part, kind in shape.parts():
            arrays.append(np.ndarray(part, kind, memory, offset))
            offset += arrays[-1].nbytes
        self.offsets, self.ends, self.order, labels, indices, pixels = arrays
        self.slots = [Batch(*rows) for rows in zip(pixels, labels, indices, strict=True)]


def allocate(size: int) -> int:
    """The descriptor of so much memory without a name, all of it there."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("mxface")
    else:  # macOS
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)  # too little memory is an error now, not SIGBUS at the first touch
        else:
            os.ftruncate(file, size)
    except OSError as error:
        os.close(file)
        raise DataError(
            f"no {size / 1e6:.0f} MB of memory to share with decoding processes ({error.strerror}); fewer --workers or "
            "a smaller batch need less, --workers 0 needs none"
        ) from error
    return file
