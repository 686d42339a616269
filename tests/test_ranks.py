"""What ranks tell one another, over gloo; and that one process alone pays nothing."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
import torch
from tests.support.ranks import run_ranks

from mxface.ranks import BEAT_S, Ranks

DTYPES = [torch.float32, torch.float64, torch.int64, torch.bfloat16, torch.uint8, torch.bool]


def talk(ranks: Ranks) -> dict[str, Any]:
    base = torch.arange(6, dtype=torch.float64).view(3, 2)
    mine = base + 10 * ranks.rank
    ranks.barrier()
    strided = torch.zeros(2, 3, dtype=torch.float64).t().copy_(mine)
    summed = mine.clone()
    assert ranks.sum_(summed) is summed
    return {
        "ranks": (ranks.rank, ranks.count, ranks.is_main),
        "rows": [ranks.gather_rows((mine % 7).to(dtype)) for dtype in DTYPES],
        "strided rows": ranks.gather_rows(strided),
        "collected": ranks.collect_rows(mine[: ranks.rank]),
        "labels": ranks.gather_rows(torch.tensor([ranks.rank])),
        "sum": summed,
        "max": ranks.max_(-mine),
        "mean": ranks.mean_(mine.clone()),
        "first": ranks.broadcast_(mine.clone()),
        "any": (ranks.any(ranks.rank == 1), ranks.any(False)),
        "later": ranks.begin_max(10 * ranks.rank)(),
        "values": ranks.gather({"rank": ranks.rank}),
        "shares": [list(ranks.share(total)) for total in (8, 2, 0)],
    }


def talk_after_a_failure_at_work(ranks: Ranks) -> float:
    """The last rank fails in a block that the others are in for longer."""
    with contextlib.suppress(ZeroDivisionError), ranks.at_work():
        if ranks.rank == ranks.count - 1:
            raise ZeroDivisionError
        time.sleep(4 * BEAT_S)
    return float(ranks.sum_(torch.tensor(float(ranks.rank), dtype=torch.float64)))


def test_a_failure_at_work_lets_the_others_end_theirs() -> None:
    """What follows is not mixed up with their words that they are at work."""
    assert run_ranks(talk_after_a_failure_at_work, 3) == [3.0, 3.0, 3.0]


def test_ranks_talk_over_gloo() -> None:
    results = run_ranks(talk, 3)
    base = torch.arange(6, dtype=torch.float64).view(3, 2)
    everyone = torch.cat([base, base + 10, base + 20])
    for rank, result in enumerate(results):
        assert result["ranks"] == (rank, 3, rank == 0)
        for rows, dtype in zip(result["rows"], DTYPES, strict=True):
            assert torch.equal(rows, (everyone % 7).to(dtype))
        assert torch.equal(result["strided rows"], everyone)
        collected = torch.cat([base[:1] + 10, base[:2] + 20]) if rank == 0 else result["collected"]
        assert torch.equal(result["collected"], collected)
        assert result["labels"].tolist() == [0, 1, 2]
        assert torch.equal(result["sum"], 3 * base + 30)
        assert torch.equal(result["max"], -base)
        assert torch.equal(result["mean"], base + 10)
        assert torch.equal(result["first"], base)
        assert result["any"] == (True, False)
        assert result["later"] == 20
        assert result["values"] == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
    shares = zip(*(result["shares"] for result in results), strict=True)
    assert list(shares) == [([0, 1, 2], [3, 4, 5], [6, 7]), ([0], [1], []), ([], [], [])]


def test_one_process_alone_copies_nothing() -> None:
    ranks, tensor = Ranks.current(), torch.ones(2, 3)
    assert ranks == Ranks.single() == Ranks(0, 1)
    assert ranks.is_main
    for method in (ranks.gather_rows, ranks.collect_rows, ranks.sum_, ranks.max_, ranks.mean_, ranks.broadcast_):
        assert method(tensor) is tensor
    assert torch.equal(tensor, torch.ones(2, 3))
    assert (ranks.any(True), ranks.any(False), ranks.begin_max(3)()) == (True, False, 3)
    assert (ranks.gather("value"), ranks.share(3)) == (["value"], range(3))


def fail_on_rank_1(ranks: Ranks) -> None:
    if ranks.rank == 1:
        raise ValueError("a message of the test")
    ranks.barrier()


def test_a_failing_rank_is_told() -> None:
    with pytest.raises(AssertionError, match="a message of the test"):
        run_ranks(fail_on_rank_1, 2)
