"""Batches from several processes, in order, each bit for bit what a thread makes; pixels go through shared memory.

A worker is `python -c …` with `mxface.loaders.worker` alone, not a child of `multiprocessing`, which would run the
user's command again and import torch in each. Signals meant for the run (Ctrl-C, a scheduler's SIGTERM) do not reach
the workers: the loader's process decides, and they end with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from mxface.errors import DataError
from mxface.loaders.batch import Batch, BatchMaker, Damage, Filled
from mxface.loaders.shared_batches import SharedBatches, SharedShape, allocate
from mxface.loaders.worker import WorkerSettings

# One batch being made, one that waits to be taken.
SLOTS_PER_WORKER = 2
BLOCKED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START = "import sys; sys.path[:] = sys.argv[1:]; from mxface.loaders.worker import main; sys.exit(main())"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Task(NamedTuple):
    """A batch that is being made: by which worker, into which slot."""

    worker: int
    slot: int


class WorkerPool:
    """`num_workers` processes that make batches of `batch_size` as `maker` does, in one epoch at a time.

    max_order: images that an epoch's order can have.
    """

    def __init__(self, maker: BatchMaker, batch_size: int, num_workers: int, *, max_order: int) -> None:
        self.max_order = max_order
        pixels = maker.augmentation.empty((0,)).dtype
        shape = SharedShape(
            num_images=len(maker.images),
            max_order=max_order,
            num_slots=num_workers * SLOTS_PER_WORKER,
            slot_shape=(batch_size, *maker.image_shape),
            slot_dtype=pixels.name,
        )
        memory = allocate(shape.size)
        try:
            self._shared = SharedBatches(memory, shape)
            self._shared.offsets[:] = maker.images.offsets
            self._shared.ends[:] = maker.images.ends
            settings = WorkerSettings(
                path=str(maker.images.path),
                record_file=maker.images.file,
                memory=memory,
                shape=asdict(shape),
                augmentation=asdict(maker.augmentation),
                seed=maker.seed,
                max_damaged=maker.max_damaged,
            )
            self._pending: deque[Task] = deque()
            self._processes: list[subprocess.Popen[str]] = []
            self.close = weakref.finalize(self, stop_workers, self._processes)
            for _ in range(num_workers):
                self._processes.append(start_worker((memory, maker.images.file)))
            for worker in range(num_workers):  # when all are there: an error counts them
                self._tell(worker, asdict(settings))
        finally:
            os.close(memory)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [process.pid for process in self._processes]

    def batches(
        self, order: npt.NDArray[np.int64], epoch: int, starts: Iterable[int]
    ) -> Iterator[tuple[Batch, Filled]]:
        """The batches that begin at the positions `starts` of the epoch's order, and how each went.

        Raises DataError at the turn of a worker that cannot go on or has died.
        """
        while self._pending:  # an epoch that was left early
            self._reply(self._pending.popleft())
        self._shared.order[: len(order)] = order
        for number, start in enumerate(starts):
            worker, turn = number % len(self._processes), number // len(self._processes)
            if len(self._pending) == len(self._shared.slots):
                yield self._take()
            task = Task(worker, worker * SLOTS_PER_WORKER + turn % SLOTS_PER_WORKER)
            self._tell(worker, {"epoch": epoch, "length": len(order), "start": start, "slot": task.slot})
            self._pending.append(task)
        while self._pending:
            yield self._take()

    def _take(self) -> tuple[Batch, Filled]:
        """The batch whose turn it is; its slot is free again."""
        task = self._pending.popleft()
        filled = self._reply(task)
        return self._shared.slots[task.slot].copy(), filled

    def _tell(self, worker: int, message: object) -> None:
        stdin = pipe(self._processes[worker].stdin)
        try:
            print(json.dumps(message), file=stdin, flush=True)
        except BrokenPipeError as error:
            raise self._death(worker) from error

    def _reply(self, task: Task) -> Filled:
        line = pipe(self._processes[task.worker].stdout).readline()
        if not line.endswith("\n"):
            raise self._death(task.worker)
        reply = json.loads(line)
        if "error" in reply:
            raise DataError(reply["error"])
        return Filled([Damage(*damage) for damage in reply["damages"]], reply["complete"])

    def _death(self, worker: int) -> DataError:
        process = self._processes[worker]
        status = process.wait()
        how = f"ended with status {status} (its own message is above)"
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
            if -status == signal.SIGKILL:
                how += ", as the system does where memory runs out"
        return DataError(
            f"decoding process {worker + 1} of {len(self._processes)} (pid {process.pid}) {how}; fewer --workers "
            "need less memory, --workers 0 decodes in threads"
        )


def start_worker(files: Sequence[int]) -> subprocess.Popen[str]:
    """A process that waits for its settings and inherits the descriptors `files`."""
    # A blocked signal stays blocked in a child, also while Python starts.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", START, *sys.path],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=files,
            text=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def stop_workers(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End them at once: they hold nothing that would be lost."""
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate()


def pipe(stream: IO[str] | None) -> IO[str]:
    """A stream that `start_worker` opened."""
    assert stream is not None
    return stream
