"""The processes that train together, and what they tell one another.

Every process of a run calls the same methods in the same order with tensors of the same shape and dtype; each waits
for all. One process alone pays nothing: its tensors come back as they are, without a copy. Over gloo and NCCL alike:

    torch.distributed.init_process_group("cpu:gloo,cuda:nccl", …)    # "gloo" where there is no GPU
    ranks = Ranks.current()

Sums come out the same to the last bit on every rank, so that all decide alike.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

Result = TypeVar("Result")

BEAT_S = 0.25
"""How often a rank at work says so: far below every timeout."""


@dataclass(frozen=True)
class Ranks:
    """`count` processes, of which this is number `rank`. Tensors: float32, float64 or int64 unless said otherwise."""

    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.count, f"rank {self.rank} of {self.count}"

    @classmethod
    def single(cls) -> Ranks:
        """This process alone."""
        return cls()

    @classmethod
    def current(cls) -> Ranks:
        """The ranks of torch.distributed's default group; this process alone where there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls.single()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """This rank's part of `total` things in a row; the first parts may be longer by one, the last ones empty."""
        size, longer = divmod(total, self.count)
        start = self.rank * size + min(self.rank, longer)
        return range(start, start + size + (self.rank < longer))

    def gather_rows(self, rows: Tensor) -> Tensor:
        """(b, …) of every rank -> (count * b, …) on every rank, in the order of ranks; any dtype, b the same on all."""
        if self.count == 1:
            return rows
        gathered = rows.new_empty(self.count * len(rows), *rows.shape[1:])
        # as bytes: not every backend knows bfloat16 and bool
        parts = gathered.view(-1).view(torch.uint8).chunk(self.count)
        dist.all_gather(list(parts), rows.contiguous().view(-1).view(torch.uint8))
        return gathered

    def collect_rows(self, rows: Tensor) -> Tensor:
        """(n, …) of every rank, n of each its own, on the CPU -> all rows, in the order of ranks, on the main rank.

        On the others `rows` itself.
        """
        if self.count == 1:
            return rows
        lengths = self.gather_rows(torch.tensor([len(rows)])).tolist()
        if not self.is_main:
            if len(rows):
                dist.send(rows.contiguous(), dst=0)
            return rows
        whole = rows.new_empty(sum(lengths), *rows.shape[1:])
        parts = torch.split(whole, lengths)
        parts[0].copy_(rows)
        for rank, part in enumerate(parts[1:], start=1):
            if len(part):
                dist.recv(part, src=rank)
        return whole

    def gather(self, value: Result) -> list[Result]:
        """The values of all ranks, which can be pickled, on every rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def sum_(self, tensor: Tensor) -> Tensor:
        """`tensor` itself, now the sum over ranks."""
        return self._reduce_(tensor, dist.ReduceOp.SUM)

    def max_(self, tensor: Tensor) -> Tensor:
        """`tensor` itself, now the largest over ranks of each element."""
        return self._reduce_(tensor, dist.ReduceOp.MAX)

    def mean_(self, tensor: Tensor) -> Tensor:
        """`tensor` itself, floating point, now the mean over ranks."""
        return tensor if self.count == 1 else self.sum_(tensor).div_(self.count)

    def broadcast_(self, tensor: Tensor) -> Tensor:
        """`tensor` itself, now what rank 0's holds; any dtype."""
        if self.count > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        return flag if self.count == 1 else bool(self.max_(torch.tensor([int(flag)])).item())

    def begin_max(self, value: int) -> Callable[[], int]:
        """Begin to ask for the largest `value` over ranks, in the background; the function returned waits for it."""
        if self.count == 1:
            return lambda: value
        tensor = torch.tensor([value])
        work = dist.all_reduce(tensor, op=dist.ReduceOp.MAX, async_op=True)
        assert work is not None  # only processes outside the group get None

        def wait() -> int:
            work.wait()
            return int(tensor.item())

        return wait

    def on_main(self, action: Callable[[], Result]) -> Result:
        """What `action` gives or raises on rank 0, on every rank; a result or an exception that can be pickled.

        It may take as long as it takes: see `at_work`.
        """
        if self.count == 1:
            return action()
        outcome: list[Any] = [None, None]
        with self.at_work():
            if self.is_main:
                try:
                    outcome[0] = action()
                except Exception as exc:
                    outcome[1] = exc
        result, error = self._broadcast_value(outcome)
        if error is not None:
            raise error
        return cast(Result, result)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """While a block that every rank enters runs, each at its own pace; leaving it waits for all, however long.

        Meanwhile a thread of each tells the others that it lives: the timeout of the group counts a rank's silence, as
        of one that is gone or stopped, not its work. Inside the block a rank talks to no other.
        """
        if self.count == 1:
            yield
            return
        done, failures = threading.Event(), []

        def beat() -> None:
            try:
                while self.any(not done.wait(BEAT_S)):
                    pass
            except Exception as exc:
                failures.append(exc)

        beats = threading.Thread(target=beat, name="mxface-at-work", daemon=True)
        beats.start()

        def leave() -> None:
            done.set()
            beats.join()

        try:
            yield
        except Exception:
            leave()
            raise
        leave()
        if failures:
            raise failures[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.any(False)  # dist.barrier would go through NCCL, and choose a GPU by itself

    def _broadcast_value(self, value: Result) -> Result:
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def _reduce_(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count > 1:
            dist.all_reduce(tensor, op=operation)
        return tensor
