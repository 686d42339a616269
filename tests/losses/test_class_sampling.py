"""A step on a sample of the classes: a dense softmax over these, and nothing else is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.losses.test_sharded_head import EMB_SIZE, KINDS, RATE, assert_close, assert_equal_runs, make_batch, make_head
from tests.losses.test_sharded_head import train as train_shard
from tests.support.ranks import run_ranks, run_threads
from tests.support.storages import LargestStorages

from mxface.errors import ConfigError
from mxface.losses import HeadConfig, HeadOutput, SoftmaxHead, fused_softmax
from mxface.losses.class_shard import sample_rows, sampling_generator
from mxface.losses.softmax_head import WEIGHT
from mxface.ranks import Ranks
from mxface.train.optimizer import SGD

NUM_CLASSES, BATCH = 60, 8


def sampled_step(ranks: Ranks, kind: dict[str, Any], rate: float, device: str = "cpu") -> dict[str, Any]:
    """One step with momentum from before; the state on both sides of it, on the CPU."""
    head = make_head(NUM_CLASSES, kind, ranks, sample_rate=rate)
    fill = torch.Generator().manual_seed(9)
    for _, tensor in sorted(head.state_dict().items()):
        values = torch.empty(NUM_CLASSES, *tensor.shape[1:], dtype=tensor.dtype).normal_(generator=fill)
        tensor.copy_(values[head.class_range.start : head.class_range.stop])
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    head.to(device)
    share = BATCH // ranks.count
    rows = slice(ranks.rank * share, (ranks.rank + 1) * share)
    embedding, label = (values[rows].to(device) for values in make_batch(NUM_CLASSES, BATCH, 1))
    output, gradient = head.step(embedding, label, **RATE, step=5)
    after = {name: tensor.cpu() for name, tensor in head.state_dict().items()}
    cpu_output = HeadOutput(*(value.cpu() for value in output))
    return {"before": before, "after": after, "output": cpu_output, "gradient": gradient.cpu()}


def joined(shards: Sequence[dict[str, Any]], part: str) -> dict[str, torch.Tensor]:
    return {name: torch.cat([shard[part][name] for shard in shards]) for name in shards[0][part]}


def check_against_dense(shards: Sequence[dict[str, Any]], kind: dict[str, Any], rate: float) -> None:
    """The rows that changed are the sample; the numbers are those of a head that knows no other classes."""
    before, after = joined(shards, "before"), joined(shards, "after")
    changed = (before[WEIGHT] != after[WEIGHT]).all(dim=1)
    sample = changed.nonzero().squeeze(1)
    embedding, label = make_batch(NUM_CLASSES, BATCH, 1)
    assert changed[label].all()
    assert len(sample) == sum(
        max(math.ceil(rate * len(rows)), len({*label.tolist()} & {*range(start, start + len(rows))}))
        for start, rows in zip((0, NUM_CLASSES // 2), before[WEIGHT].chunk(len(shards)), strict=False)
    )
    for name in before:
        assert torch.equal(before[name][~changed], after[name][~changed])

    dense = make_head(len(sample), kind, Ranks.single())
    optimizer = SGD(dense.named_parameters(), **RATE)
    for name, parameter in dense.named_parameters():
        parameter.data.copy_(before[name][sample])
        optimizer.state_dict()[name].copy_(before[f"{name}_momentum"][sample])
    embedding.requires_grad_()
    expected = dense(embedding, torch.searchsorted(sample, label))
    expected.loss.backward()
    optimizer.step()
    for shard in shards:
        assert_close(shard["output"].cross_entropy, expected.cross_entropy.detach())
        assert torch.equal(shard["output"].correct, expected.correct)
    assert embedding.grad is not None
    assert_close(torch.cat([shard["gradient"] for shard in shards]), embedding.grad, 1e-11)
    for name, parameter in dense.named_parameters():
        assert_close(after[name][sample], parameter.detach(), 1e-11)
        assert_close(after[f"{name}_momentum"][sample], optimizer.state_dict()[name], 1e-11)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.999])
@pytest.mark.parametrize("count", [1, 2])
def test_it_is_the_dense_softmax_of_the_sample(count: int, rate: float, kind: dict[str, Any]) -> None:
    check_against_dense(run_threads(sampled_step, count, kind, rate), kind, rate)


@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_a_sample_of_all_classes_is_the_exact_step(
    product_dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fused_softmax.CHUNK_CLASSES, "cpu", 16)
    monkeypatch.setattr(fused_softmax, "KEPT_PRODUCT_BYTES", 0)
    options = {"dtype": torch.float32, "product_dtype": product_dtype}
    for kind in KINDS:
        exact = train_shard(Ranks.single(), NUM_CLASSES, BATCH, kind, options)
        sampled = train_shard(Ranks.single(), NUM_CLASSES, BATCH, kind, {**options, "sample_rate": 0.9999})
        assert_equal_runs([sampled], exact, relative=0.0)


def sampled_steps(ranks: Ranks) -> list[dict[str, Any]]:
    return [sampled_step(ranks, kind, 0.2) for kind in KINDS]


def test_over_gloo() -> None:
    for kind, *shards in zip(KINDS, *run_ranks(sampled_steps, 2), strict=True):
        check_against_dense(shards, kind, 0.2)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_on_a_gpu(kind: dict[str, Any]) -> None:
    check_against_dense([sampled_step(Ranks.single(), kind, 0.3, "cuda")], kind, 0.3)


def test_the_sample_follows_from_seed_step_and_rank() -> None:
    def changed(seed: int, step: int) -> list[int]:
        head = make_head(NUM_CLASSES, KINDS[4], Ranks.single(), sample_rate=0.3, seed=seed)
        before = head.fc7_weight.detach().clone()
        head.step(*make_batch(NUM_CLASSES, BATCH, 0), **RATE, step=step)
        return (head.fc7_weight != before).any(dim=1).nonzero().squeeze(1).tolist()  # type: ignore[no-any-return]

    assert changed(0, 7) == changed(0, 7)
    assert changed(0, 7) != changed(0, 8)
    assert changed(0, 7) != changed(1, 7)
    draws = [torch.randperm(50, generator=sampling_generator(0, 7, rank, torch.device("cpu"))) for rank in (0, 1)]
    assert not torch.equal(*draws)


@settings(deadline=None)
@given(
    num_rows=st.integers(1, 200),
    rate=st.floats(0.001, 1),
    positive=st.lists(st.integers(0, 10_000), max_size=30),
    seed=st.integers(0, 1000),
)
def test_sample_rows(num_rows: int, rate: float, positive: list[int], seed: int) -> None:
    rows = torch.tensor([value % num_rows for value in positive], dtype=torch.int64)
    sample = sample_rows(rows, num_rows, rate, torch.Generator().manual_seed(seed)).tolist()
    assert sample == sorted(set(sample))
    assert {*rows.tolist()} <= {*sample} <= {*range(num_rows)}
    assert len(sample) == max(math.ceil(rate * num_rows), len({*rows.tolist()}))


def test_no_rows_no_sample() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert sample_rows(none, 0, 0.1, torch.Generator()).tolist() == []


def test_every_other_class_is_as_likely() -> None:
    positive, draws = torch.tensor([3, 3, 17]), 4000
    counts = torch.zeros(20)
    for step in range(draws):
        counts[sample_rows(positive, 20, 0.4, sampling_generator(0, step, 0, torch.device("cpu")))] += 1
    assert counts[3] == counts[17] == draws
    others = counts[[row for row in range(20) if row not in (3, 17)]]
    expected = draws * 6 / 18
    spread = math.sqrt(expected * (1 - 6 / 18))
    assert ((others - expected).abs() < 4 * spread).all()
    assert others.std() > spread / 2  # drawn, not dealt out in turn


@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_makes_nothing_as_large_as_the_centres(
    product_dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, classes, emb_size, chunk = 16, 5000, 32, 100
    monkeypatch.setitem(fused_softmax.CHUNK_CLASSES, "cpu", chunk)
    config = HeadConfig(num_classes=classes, emb_size=emb_size, m2=0.5)
    head = SoftmaxHead(config, product_dtype=product_dtype, sample_rate=0.1)
    embedding, label = torch.randn(batch, emb_size), torch.randint(classes, (batch,))
    with LargestStorages(head.state_dict().values()) as storages:
        head.step(embedding, label, **RATE)
    assert max(storages.sizes.values()) <= max(8 * classes, 4 * chunk * emb_size)  # one number a class; a chunk


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, math.nan])
def test_rates_that_cannot_be(rate: float) -> None:
    with pytest.raises(ConfigError, match="sample_rate"):
        SoftmaxHead(HeadConfig(num_classes=3, emb_size=EMB_SIZE), sample_rate=rate)
