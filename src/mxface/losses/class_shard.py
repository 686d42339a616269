"""Class centres over ranks: who owns which classes, a start that does not depend on it, and samples of own classes.

Rank i of n owns classes [i * k, (i + 1) * k) with k = ceil(classes / n), as 2019's train_parall.py and
torch.distributed's Shard(0) have it. The last shards may be smaller or empty. 2019 filled its last shard up with
phantom classes of random weights, which took part in the softmax; there are none here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mxface.ranks import Ranks

ROWS_AT_ONCE = 1 << 14
FEWEST_ROWS = 16  # below 16 numbers torch draws normal ones in another way


def class_range(num_classes: int, ranks: Ranks) -> range:
    """The classes of this rank."""
    size = math.ceil(num_classes / ranks.count)
    return range(min(ranks.rank * size, num_classes), min((ranks.rank + 1) * size, num_classes))


def normal_rows(
    shape: tuple[int, int], own: range, sigma: float, *, generator: torch.Generator | None, dtype: torch.dtype
) -> Tensor:
    """Rows `own` of a table of `shape` (C, D) with values Normal(0, sigma), on the CPU.

    Every rank draws the whole table and keeps its rows, a part at a time: the numbers are those of one
    `normal_(0, sigma)` for the whole table, however many ranks there are.
    """
    rows = torch.empty(len(own), shape[1], dtype=dtype)
    part = torch.empty(min(ROWS_AT_ONCE + FEWEST_ROWS, shape[0]), shape[1], dtype=dtype)
    for start, stop in _parts(shape[0]):
        drawn = part[: stop - start].normal_(0.0, sigma, generator=generator)
        low, high = max(start, own.start), min(stop, own.stop)
        if low < high:
            rows[low - own.start : high - own.start] = drawn[low - start : high - start]
    return rows


def sample_rows(positive: Tensor, num_rows: int, rate: float, generator: torch.Generator) -> Tensor:
    """Rows of a step, ascending int64: all of `positive`, and others at random up to ceil(rate * num_rows) in all.

    `positive` may name a row twice; every set of the others of that size is as likely. `generator` is on the device
    of `positive`. Costs O(num_rows) small operations.
    """
    chosen = torch.zeros(num_rows, dtype=torch.bool, device=positive.device)
    chosen[positive] = True
    others = math.ceil(rate * num_rows) - int(chosen.sum())
    if others > 0:
        order = torch.randperm(num_rows, generator=generator, device=positive.device)[: others + len(positive)]
        chosen[order[~chosen[order]][:others]] = True
    return chosen.nonzero().squeeze(1)


def expected_sample(num_rows: int, num_classes: int, rate: float, batch_size: int) -> float:
    """How many rows `sample_rows` gives a rank that has `num_rows` of the classes, if all labels are as likely."""
    positives = num_rows * (1 - (1 - 1 / num_classes) ** batch_size)
    return max(math.ceil(rate * num_rows), positives)


def sampling_generator(seed: int, step: int, rank: int, device: torch.device) -> torch.Generator:
    """The source of one step's sample on one rank: a function of these numbers, so that a run resumes."""
    mixed = np.random.SeedSequence((seed, step, rank)).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(mixed))


def _parts(num_rows: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start < num_rows:
        stop = start + ROWS_AT_ONCE
        if num_rows - stop < FEWEST_ROWS:
            stop = num_rows
        yield start, stop
        start = stop
