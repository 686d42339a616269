"""A process's place among the ranks, and how it joins them: started by `train.launcher` or by torchrun.

    torchrun --nproc-per-node 4 train.py …                                     # one machine
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT train.py …     # on each of two

Both tell a process its place in the environment: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR,
MASTER_PORT. The tensors on a GPU travel by NCCL, those on the CPU by gloo.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mxface.errors import ConfigError, RankError
from mxface.ranks import Ranks

TIMEOUT_S = 600
LAUNCHER_STORE = "MXFACE_LAUNCHER_STORE"  # set by our launcher, which holds the store: no port can be lost in a race
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
# what gloo, NCCL and the store say when the other side is gone; gloo raises plain RuntimeErrors
SIGNS_OF_LOSS = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "Timed out", "timed out")
WAY_OUT = "the last saved state is whole: --resume goes on from it"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which of `count` processes this one is, and which of the `local_count` on this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.count and 0 <= self.local_rank < self.local_count <= self.count):
            raise ConfigError(
                f"RANK {self.rank} of WORLD_SIZE {self.count}, LOCAL_RANK {self.local_rank} of LOCAL_WORLD_SIZE "
                f"{self.local_count} in the environment: no such place; unset them, or start by torchrun"
            )


def find_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place that the environment names; None where nobody started this process as one of several."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    names = {"rank": "RANK", "count": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_count": "LOCAL_WORLD_SIZE"}
    try:
        return Place(**{field: int(environment[name]) for field, name in names.items() if name in environment})
    except ValueError as exc:
        raise ConfigError(f"RANK, WORLD_SIZE, … in the environment: {exc}; unset them, or start by torchrun") from exc


@contextlib.contextmanager
def joined(place: Place, device: torch.device, *, timeout_s: float = TIMEOUT_S) -> Iterator[Ranks]:
    """The ranks, while the block runs. One process alone joins nobody.

    A rank that is lost, or silent for `timeout_s`, is a RankError on those that wait for it.
    """
    if place.count == 1:
        yield Ranks.single()
        return
    try:
        dist.init_process_group(
            BACKENDS[device.type],
            rank=place.rank,
            world_size=place.count,
            timeout=timedelta(seconds=timeout_s),
            store=_launcher_store(timeout_s),
        )
        yield Ranks.current()
    except (RuntimeError, dist.DistError) as exc:
        if not isinstance(exc, dist.DistError) and not any(sign in str(exc) for sign in SIGNS_OF_LOSS):
            raise
        reason = str(exc).strip().splitlines()[0]
        raise RankError(
            f"rank {place.rank} of {place.count}: another rank ended, or was silent for {timeout_s:g} s "
            f"({reason}); {WAY_OUT}"
        ) from exc
    dist.destroy_process_group()  # not after an error: it would wait for the lost


def _launcher_store(timeout_s: float) -> Any:
    if LAUNCHER_STORE not in os.environ:
        return None  # torchrun's, by the environment
    port = int(os.environ[LAUNCHER_STORE])
    store = dist.TCPStore  # type: ignore[attr-defined]
    return store("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=timeout_s))


def log_as_rank(rank: int) -> None:
    """Logging of a rank that is not the main one: warnings, with its number."""
    form = f"%(levelname)s:%(name)s:rank {rank}: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, stream=sys.stderr)


@contextlib.contextmanager
def quiet(active: bool) -> Iterator[None]:
    """No warnings, where another process says the same ones."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING if active else before)
    try:
        yield
    finally:
        logging.disable(before)


def require_agreement(ranks: Ranks, **facts: object) -> None:
    """Raise ConfigError on every rank where a fact has another `repr` on some of them (another file on a machine)."""
    if ranks.count == 1:
        return
    sums = ranks.gather_rows(torch.tensor([[zlib.crc32(repr(fact).encode()) for fact in facts.values()]]))
    differs = sums != sums[0]
    if differs.any():
        rank = int(differs.any(dim=1).nonzero()[0])
        names = ", ".join(name.replace("_", " ") for name, differ in zip(facts, differs[rank], strict=True) if differ)
        raise ConfigError(
            f"rank {rank} differs from rank 0 in its {names}: every rank needs the same flags, config file, data and "
            "training state"
        )
