"""A process that decodes batches into shared memory. No torch: it starts in a fifth of a second and stays small.

It reads lines of JSON on stdin, `WorkerSettings` first, then tasks, and answers each task by a line on stdout:

    {"epoch": 0, "length": 900, "start": 256, "slot": 1}   fill slot 1 from position 256 of the epoch's 900 images on
    {"damages": [[17, "reason"]], "complete": true}   or   {"error": "why no image can be read any more"}

It ends when stdin does, that is when its loader's process ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import cv2

from mxface.errors import DataError
from mxface.loaders.augment import Augmentation
from mxface.loaders.batch import BatchMaker
from mxface.loaders.encoded_images import EncodedImages
from mxface.loaders.shared_batches import SharedBatches, SharedShape


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker must know, as plain values; `record_file` and `memory` are descriptors that it inherits."""

    path: str
    record_file: int
    memory: int
    shape: dict[str, Any]
    augmentation: dict[str, Any]
    seed: int
    max_damaged: int


def main() -> int:
    """Serve until stdin ends."""
    cv2.setNumThreads(1)
    with contextlib.suppress(BrokenPipeError), os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # whatever a library prints must not come between the replies
        settings = WorkerSettings(**json.loads(sys.stdin.readline()))
        shape = SharedShape(**settings.shape)
        shared = SharedBatches(settings.memory, shape)
        _, height, width, channels = shape.slot_shape
        maker = BatchMaker(
            images=EncodedImages(settings.path, shared.offsets, shared.ends, file=settings.record_file),
            image_shape=(height, width, channels),
            augmentation=Augmentation(**settings.augmentation),
            seed=settings.seed,
            max_damaged=settings.max_damaged,
        )
        for line in sys.stdin:
            print(json.dumps(answer(maker, shared, json.loads(line))), file=replies, flush=True)
    return 0


def answer(maker: BatchMaker, shared: SharedBatches, task: dict[str, int]) -> dict[str, Any]:
    """Do a task; the reply to it."""
    try:
        order = shared.order[: task["length"]]
        filled = maker.fill(shared.slots[task["slot"]], order, task["epoch"], task["start"])
    except DataError as error:
        return {"error": str(error)}
    return filled._asdict()
