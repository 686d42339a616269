"""Several ranks on one machine: run a function of a test module on each, and bring back results or the traceback.

    results = run_ranks(train_a_little, 3, "softmax")     # [train_a_little(ranks, "softmax") on rank 0, 1, 2]
    results = run_threads(train_a_little, 3, "softmax")   # the same, in milliseconds and without torch.distributed

The function of `run_ranks` must lie at module level (the new processes import it by name), its arguments and result
must be plain data or tensors. A rank that fails ends all of them: the others would wait for it for ever.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from tests.support.processes import PATIENCE_S
from torch import Tensor

from mxface.ranks import Ranks

Result = TypeVar("Result")


def run_ranks(function: Callable[..., Result], count: int, *arguments: Any) -> list[Result]:
    """`function(ranks, *arguments)` on `count` new processes that talk over gloo; the results in the order of ranks.

    Raises AssertionError with the tracebacks of the ranks that failed, or when PATIENCE_S has passed.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes, processes = [], []
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=_run_rank, args=(function, arguments, rank, count, Path(folder), sender), daemon=True
            )
            process.start()
            sender.close()
            pipes.append(receiver)
            processes.append(process)
        try:
            return _collect(pipes)
        finally:
            for process in processes:
                if process.is_alive():
                    process.terminate()
                process.join()


def _collect(pipes: list[multiprocessing.connection.Connection]) -> list[Any]:
    results: dict[int, Any] = {}
    failures: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(results) < len(pipes):
        waiting = [pipe for rank, pipe in enumerate(pipes) if rank not in results]
        # after one failure only those that have spoken before it: the one that failed first has, the others may hang
        timeout = 0.0 if failures else max(0.0, deadline - time.monotonic())
        ready = multiprocessing.connection.wait(waiting, timeout=timeout)
        if failures and not ready:
            break
        assert ready, (
            f"ranks {[rank for rank in range(len(pipes)) if rank not in results]} did not end in {PATIENCE_S} s"
        )
        for pipe in ready:
            rank = pipes.index(pipe)  # type: ignore[arg-type]
            try:
                failure, results[rank] = pickle.loads(pipes[rank].recv_bytes())
            except EOFError:
                failure, results[rank] = "it died without a word", None
            if failure is not None:
                failures.append(f"rank {rank} failed:\n{failure}")
    assert not failures, "\n".join(failures)
    return [results[rank] for rank in range(len(pipes))]


def _run_rank(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    rank: int,
    count: int,
    folder: Path,
    sender: multiprocessing.connection.Connection,
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a container's name may not resolve
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    try:
        dist.init_process_group(
            "gloo",
            init_method=(folder / "rendezvous").as_uri(),
            rank=rank,
            world_size=count,
            timeout=timedelta(seconds=PATIENCE_S),
        )
        result = function(Ranks.current(), *arguments)
        dist.barrier()
        dist.destroy_process_group()
        message = pickle.dumps(
            (None, result)
        )  # by value: Connection.send would lend out shared memory that ends with us
    except BaseException:
        message = pickle.dumps((traceback.format_exc(), None))
    sender.send_bytes(message)


class Meeting:
    """Where the threads of `run_threads` exchange tensors."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count, timeout=PATIENCE_S)
        self._tensors: list[Tensor | None] = [None] * count

    def exchange(self, rank: int, tensor: Tensor) -> list[Tensor]:
        """What every rank brought, copied."""
        self._tensors[rank] = tensor
        self._barrier.wait()
        everyones = [brought.clone() for brought in self._tensors if brought is not None]
        self._barrier.wait()  # before anybody changes its tensor in place
        return everyones

    def leave(self) -> None:
        """Free the others from waiting for one that failed."""
        self._barrier.abort()


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """Ranks that are threads of one process."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def gather_rows(self, rows: Tensor) -> Tensor:
        return torch.cat(self.meeting.exchange(self.rank, rows))

    def collect_rows(self, rows: Tensor) -> Tensor:
        everyones = [part for part in self.meeting.exchange(self.rank, rows) if len(part)]
        return torch.cat(everyones) if self.is_main else rows

    def gather(self, value: Any) -> list[Any]:
        packed = self.meeting.exchange(self.rank, torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8))
        return [pickle.loads(part.numpy().tobytes()) for part in packed]

    def _broadcast_value(self, value: Any) -> Any:
        return self.gather(value)[0]

    def broadcast_(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(self.meeting.exchange(self.rank, tensor)[0])

    def _reduce_(self, tensor: Tensor, operation: Any) -> Tensor:
        everyones = torch.stack(self.meeting.exchange(self.rank, tensor))
        return tensor.copy_(everyones.sum(0) if operation == dist.ReduceOp.SUM else everyones.amax(0))


def run_threads(function: Callable[..., Result], count: int, *arguments: Any) -> list[Result]:
    """`function(ranks, *arguments)` on `count` threads; the results in the order of ranks."""
    meeting = Meeting(count)

    def run(rank: int) -> Result:
        try:
            return function(ThreadRanks(rank, count, meeting), *arguments)
        except BaseException:
            meeting.leave()
            raise

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, rank) for rank in range(count)]
    failures = [future.exception() for future in futures]
    for failure in failures:
        if failure is not None and not isinstance(failure, threading.BrokenBarrierError):
            raise failure
    return [future.result() for future in futures]
