"""Class centres over ranks: N ranks are one rank, to rounding, whatever the shards are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.ranks import run_ranks, run_threads

from mxface.losses import HeadConfig, HeadOutput, SoftmaxHead
from mxface.losses.class_shard import class_range
from mxface.losses.softmax_head import SHARDED
from mxface.ranks import Ranks

EMB_SIZE = 8
RATE = {"lr": 0.3, "momentum": 0.9, "wd": 0.05}
KINDS: list[dict[str, Any]] = [
    {"kind": "softmax"},
    {"kind": "softmax", "no_bias": True},
    {"s": 16.0},
    {"s": 64.0, "m3": 0.35},
    {"s": 64.0, "m2": 0.5},
    {"s": 30.0, "m1": 0.9, "m2": 0.4, "m3": 0.15},
]


def make_head(num_classes: int, kind: dict[str, Any], ranks: Ranks, **options: Any) -> SoftmaxHead:
    config = HeadConfig(num_classes=num_classes, emb_size=EMB_SIZE, **kind)
    options = {"dtype": torch.float64, **options}
    return SoftmaxHead(config, generator=torch.Generator().manual_seed(3), ranks=ranks, **options)


def make_batch(num_classes: int, batch: int, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The global batch."""
    rng = torch.Generator().manual_seed(number)
    embedding = torch.randn(batch, EMB_SIZE, dtype=torch.float64, generator=rng)
    return embedding, torch.randint(num_classes, (batch,), generator=rng)


def train(
    ranks: Ranks, num_classes: int, batch: int, kind: dict[str, Any], options: dict[str, Any], steps: int = 3
) -> dict[str, Any]:
    """Steps over global batches of which this rank takes its rows."""
    head = make_head(num_classes, kind, ranks, **options)
    start = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    share = batch // ranks.count
    rows = slice(ranks.rank * share, (ranks.rank + 1) * share)
    outputs, gradients = [], []
    for number in range(steps):
        embedding, label = (values[rows] for values in make_batch(num_classes, batch, number))
        output, gradient = head.step(embedding.to(head.fc7_weight.dtype), label, **RATE, step=number)
        outputs.append(output)
        gradients.append(gradient)
    return {"classes": head.class_range, "start": start, "state": head.state_dict(), "outputs": outputs,
            "gradients": gradients}  # fmt: skip


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, relative: float = 1e-12) -> None:
    """To `relative` of the largest number."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if theirs.numel():
        assert (ours - theirs).abs().max() <= relative * theirs.abs().max()


def assert_equal_runs(shards: Sequence[dict[str, Any]], alone: dict[str, Any], relative: float = 1e-12) -> None:
    for number, expected in enumerate(alone["outputs"]):
        output = shards[0]["outputs"][number]
        assert_close(output.loss, expected.loss, relative)
        assert_close(output.cross_entropy, expected.cross_entropy, relative)
        assert torch.equal(output.correct, expected.correct)
        for shard in shards[1:]:  # to the bit: all ranks must decide alike
            assert all(torch.equal(*values) for values in zip(shard["outputs"][number], output, strict=True))
    for number, expected in enumerate(alone["gradients"]):
        assert_close(torch.cat([shard["gradients"][number] for shard in shards]), expected, relative)
    for part in ("start", "state"):
        assert set(alone[part]) <= set(SHARDED)
        for name, expected in alone[part].items():
            assert_close(torch.cat([shard[part][name] for shard in shards]), expected, relative)


def train_all(ranks: Ranks, num_classes: int, batch: int) -> list[dict[str, Any]]:
    """Every kind, and what must be told on every rank alike."""
    runs = [train(ranks, num_classes, batch, kind, {}) for kind in KINDS]
    rough = {"dtype": torch.float32, "product_dtype": torch.bfloat16}
    return [*runs, train(ranks, num_classes, batch, KINDS[4], rough, 1), refused_step(ranks, num_classes, batch)]


def refused_step(ranks: Ranks, num_classes: int, batch: int) -> dict[str, Any]:
    """A check that looks at the whole batch raises on every rank, before anything has changed."""
    head = make_head(num_classes, KINDS[0], ranks)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}

    def refuse(output: HeadOutput) -> None:
        raise ArithmeticError(f"{float(output.loss)!r} of {len(output.cross_entropy)}")

    share = batch // ranks.count
    embedding, label = (values[:share] for values in make_batch(num_classes, batch, ranks.rank))
    with pytest.raises(ArithmeticError) as caught:
        head.step(embedding, label, **RATE, check=refuse)
    unchanged = all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())
    return {"message": str(caught.value), "unchanged": unchanged}


@pytest.mark.parametrize(("count", "num_classes"), [(2, 21), (3, 20), (4, 9)])
def test_ranks_over_gloo_equal_one_rank(count: int, num_classes: int) -> None:
    """21 classes are 11 + 10, 20 are 7 + 7 + 6, and 9 are 3 + 3 + 3 + 0."""
    batch = 12
    by_rank = run_ranks(train_all, count, num_classes, batch)
    alone = train_all(Ranks.single(), num_classes, batch)
    *runs, rough, refused = zip(*by_rank, strict=True)
    for shards, expected in zip(runs, alone, strict=False):
        assert_equal_runs(shards, expected)
    assert_equal_runs(rough, alone[-2], relative=0.02)
    assert len({shard["message"] for shard in refused}) == 1
    assert refused[0]["message"].endswith(f"of {batch}")
    assert all(shard["unchanged"] for shard in refused)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(2, 5),
    share=st.integers(1, 4),
    num_classes=st.integers(1, 23),
    kind=st.sampled_from(KINDS),
)
def test_any_shards_equal_one_rank(count: int, share: int, num_classes: int, kind: dict[str, Any]) -> None:
    shards = run_threads(train, count, num_classes, count * share, kind, {})
    alone = train(Ranks.single(), num_classes, count * share, kind, {})
    assert_equal_runs(shards, alone, relative=1e-10 if num_classes == 1 else 1e-12)
    assert [label for shard in shards for label in shard["classes"]] == list(range(num_classes))


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_shards_are_those_of_torch(num_classes: int, count: int) -> None:
    """As torch.chunk, and so DTensor's Shard(0), cuts: a state saved by shards is read by any number of ranks."""
    pieces = torch.arange(num_classes).chunk(count)
    ours = [class_range(num_classes, Ranks(rank, count)) for rank in range(count)]
    assert [list(shard) for shard in ours[: len(pieces)]] == [piece.tolist() for piece in pieces]
    assert not any(ours[len(pieces) :])


@pytest.mark.parametrize("shape", [(40_001, 3), (1 << 14, 2), ((1 << 14) + 2, 3), (5, 2)])
def test_the_start_is_one_draw_for_any_number_of_ranks(shape: tuple[int, int]) -> None:
    config = HeadConfig(num_classes=shape[0], emb_size=shape[1])
    heads = [SoftmaxHead(config, generator=torch.Generator().manual_seed(5), ranks=Ranks(rank, 3)) for rank in range(3)]
    whole = torch.empty(shape).normal_(0.0, 0.01, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.cat([head.fc7_weight for head in heads]), whole)


def test_memory_is_shared_out() -> None:
    config = HeadConfig(num_classes=1001, emb_size=16, kind="softmax")
    for rank in range(4):
        head = SoftmaxHead(config, ranks=Ranks(rank, 4))
        held = sum(tensor.numel() for tensor in head.state_dict().values())
        assert held == 2 * (16 + 1) * head.num_rows
        assert head.num_rows == len(head.class_range) == (251 if rank < 3 else 248)
