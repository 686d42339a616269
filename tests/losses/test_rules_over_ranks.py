"""Every loss of `LOSSES` over ranks is that loss on one rank, and on a sample of the classes that of these alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.losses.references import LOSSES
from tests.losses.test_rules import BATCH, CLASSES, EMB_SIZE, RATE, make_batch, make_head
from tests.support.ranks import run_ranks, run_threads
from torch import Tensor

from mxface.losses import HeadConfig, SoftmaxHead
from mxface.losses.softmax_head import SHARDED, WEIGHT
from mxface.ranks import Ranks

SAMPLED = [name for name in LOSSES if name != "inter"]
STEPS = 2


def global_batch(number: int) -> tuple[Tensor, Tensor]:
    return make_batch(make_head("curricular"), number)


def train(ranks: Ranks, name: str) -> dict[str, Any]:
    """Steps over global batches of which this rank takes its rows."""
    head = make_head(name, ranks=ranks)
    share = BATCH // ranks.count
    rows = slice(ranks.rank * share, (ranks.rank + 1) * share)
    steps = [head.step(*(values[rows] for values in global_batch(number)), **RATE) for number in range(STEPS)]
    return {"steps": steps, "state": head.state_dict()}


def train_all(ranks: Ranks) -> dict[str, dict[str, Any]]:
    return {name: train(ranks, name) for name in LOSSES}


def assert_equal_runs(shards: Sequence[dict[str, Any]], alone: dict[str, Any]) -> None:
    tolerance = {"rtol": 1e-11, "atol": 1e-12}
    for number, (expected, gradient) in enumerate(alone["steps"]):
        outputs, gradients = zip(*(shard["steps"][number] for shard in shards), strict=True)
        for output in outputs:
            torch.testing.assert_close(output.loss, expected.loss, **tolerance)
            torch.testing.assert_close(output.cross_entropy, expected.cross_entropy, **tolerance)
            assert torch.equal(output.correct, expected.correct)
            assert torch.equal(output.loss, outputs[0].loss)  # to the bit: all ranks must decide alike
        torch.testing.assert_close(torch.cat(gradients), gradient, **tolerance)
    for key, expected in alone["state"].items():
        parts = [shard["state"][key] for shard in shards]
        if key in SHARDED:
            torch.testing.assert_close(torch.cat(parts), expected, **tolerance)
        else:  # what a rule remembers is on every rank
            for part in parts:
                torch.testing.assert_close(part, expected, **tolerance)
                assert torch.equal(part, parts[0])


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Any]]:
    return train_all(Ranks.single())


def test_two_ranks_over_gloo_equal_one(alone: dict[str, dict[str, Any]]) -> None:
    by_rank = run_ranks(train_all, 2)
    for name in LOSSES:
        assert_equal_runs([results[name] for results in by_rank], alone[name])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("count", [4, 8, 16])
def test_ranks_equal_one(name: str, count: int, alone: dict[str, dict[str, Any]]) -> None:
    """23 classes are 6 + 6 + 6 + 5, or 7 times 3 and 2, or 11 times 2, 1 and four ranks without any."""
    assert_equal_runs(run_threads(train, count, name), alone[name])


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sampled_step_is_the_loss_over_the_classes_at_hand(name: str) -> None:
    head = make_head(name, sample_rate=0.6, seed=1)
    embedding, label = global_batch(0)
    before = {key: tensor.clone() for key, tensor in head.state_dict().items()}
    output, gradient = head.step(embedding, label, **RATE, step=3)
    after = head.state_dict()
    changed = (before[WEIGHT] != after[WEIGHT]).view(CLASSES, -1).all(dim=1)
    sample = changed.nonzero().squeeze(1)
    assert len(sample) == 14  # ceil(0.6 * 23)
    assert changed[label].all()
    fewer = SoftmaxHead(
        HeadConfig(num_classes=len(sample), emb_size=EMB_SIZE, **LOSSES[name].config),
        dtype=torch.float64,
        rule=LOSSES[name].rule(),
    )
    sampled = lambda state: {k: t[sample] if k in SHARDED else t for k, t in state.items()}  # noqa: E731
    fewer.load_state_dict(sampled(before))
    expected, expected_gradient = fewer.step(embedding, torch.searchsorted(sample, label), **RATE)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(sampled(after), dict(fewer.state_dict()), rtol=1e-11, atol=1e-12)
    for key in set(before) & set(SHARDED):
        assert torch.equal(before[key][~changed], after[key][~changed])


@pytest.mark.gpu
@pytest.mark.parametrize("name", LOSSES)
def test_gpu_equals_cpu(name: str) -> None:
    cpu, gpu = make_head(name, dtype=torch.float32), make_head(name, dtype=torch.float32).cuda()
    for number in range(STEPS):
        embedding, label = global_batch(number)
        output, gradient = cpu.step(embedding.float(), label, **RATE)
        gpu_output, gpu_gradient = gpu.step(embedding.float().cuda(), label.cuda(), **RATE)
        torch.testing.assert_close(gpu_output.loss.cpu(), output.loss, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gpu_gradient.cpu(), gradient, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gpu.fc7_weight.cpu(), cpu.fc7_weight, rtol=1e-3, atol=1e-4)
