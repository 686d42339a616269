"""Triplet losses: the formulas in float64, their gradients, what several ranks make of them."""

from __future__ import annotations

import math

import pytest
import torch
from tests.support.ranks import run_ranks
from torch import Tensor

from mxface.errors import ConfigError
from mxface.losses.head_config import HeadOutput
from mxface.losses.triplet import TRIPLET_KINDS, TripletHead, TripletKind, triplet_losses
from mxface.ranks import Ranks

ALPHA = 0.3


def rows(count: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 5, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_hand(embedding: Tensor, kind: TripletKind) -> list[float]:
    """The papers' formulas, a triplet at a time."""
    unit = [(row / row.norm()).tolist() for row in embedding]
    third = len(unit) // 3
    losses = []
    for a, p, n in zip(unit[:third], unit[third : 2 * third], unit[2 * third :], strict=True):
        if kind == "triplet":
            excess = math.dist(a, p) ** 2 - math.dist(a, n) ** 2
        else:
            excess = math.acos(sum(x * y for x, y in zip(a, p, strict=True)))
            excess -= math.acos(sum(x * y for x, y in zip(a, n, strict=True)))
        losses.append(max(0.0, excess + ALPHA))
    return losses


@pytest.mark.parametrize("kind", TRIPLET_KINDS)
def test_value_and_gradient(kind: TripletKind) -> None:
    embedding = rows(36)
    losses = triplet_losses(embedding, ALPHA, kind)
    assert losses.tolist() == pytest.approx(by_hand(embedding, kind), abs=1e-9)
    assert 0 < (losses == 0).sum() < len(losses)  # both branches
    assert torch.autograd.gradcheck(
        lambda x: triplet_losses(x, ALPHA, kind).mean(), (embedding.clone().requires_grad_(),)
    )
    output, gradient = TripletHead(alpha=ALPHA, kind=kind).step(embedding, torch.zeros(36))
    twin = embedding.clone().requires_grad_()
    triplet_losses(twin, ALPHA, kind).mean().backward()
    torch.testing.assert_close(gradient, twin.grad, rtol=1e-10, atol=1e-12)
    assert output.loss.item() == pytest.approx(losses.mean().item())
    assert torch.equal(output.cross_entropy, losses)
    farther = triplet_losses(embedding, 0.0, kind) == 0
    assert torch.equal(output.correct, farther)


@pytest.mark.parametrize("kind", TRIPLET_KINDS)
def test_equal_and_zero_rows_give_finite_gradients(kind: TripletKind) -> None:
    """2019's angular loss was NaN where anchor and positive are one image."""
    embedding = rows(9, dtype=torch.float32)
    embedding[3] = embedding[0]
    embedding[1] = 0
    output, gradient = TripletHead(alpha=ALPHA, kind=kind).step(embedding, torch.zeros(9))
    assert torch.isfinite(output.loss)
    assert torch.isfinite(gradient).all()


def test_half_precision_rows_are_computed_in_float32() -> None:
    exact, rough = (TripletHead(alpha=ALPHA).step(rows(30, dtype=torch.float32).to(dtype), torch.zeros(30))
                    for dtype in (torch.float32, torch.bfloat16))  # fmt: skip
    assert rough[1].dtype == torch.bfloat16
    assert rough[0].loss.dtype == torch.float32
    torch.testing.assert_close(rough[0].loss, exact[0].loss, rtol=0.02, atol=0)


def test_a_share_of_the_margin_is_a_smaller_margin() -> None:
    whole, half = TripletHead(alpha=ALPHA), TripletHead(alpha=ALPHA / 2)
    whole.margin_share = 0.5
    assert torch.equal(whole.step(rows(12), torch.zeros(12))[1], half.step(rows(12), torch.zeros(12))[1])


def test_a_refusal_comes_before_anything() -> None:
    def refuse(output: HeadOutput) -> None:
        raise ArithmeticError(float(output.loss))

    with pytest.raises(ArithmeticError):
        TripletHead(alpha=ALPHA).step(rows(6), torch.zeros(6), check=refuse)


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"a batch of 7 rows .* multiple of 3"):
        triplet_losses(rows(7), ALPHA, "triplet")
    with pytest.raises(ConfigError, match="triplet_alpha is -1"):
        TripletHead(alpha=-1.0)
    with pytest.raises(ConfigError, match="loss_name is 'softmax'"):
        TripletHead(alpha=0.1, kind="softmax")  # type: ignore[arg-type]


def step_here(ranks: Ranks, kind: TripletKind) -> tuple[HeadOutput, Tensor]:
    return TripletHead(alpha=ALPHA, kind=kind, ranks=ranks).step(rows(12, seed=ranks.rank), torch.zeros(12))


def test_two_ranks_average_their_own_triplets() -> None:
    results = run_ranks(step_here, 2, "triplet")
    alone = [TripletHead(alpha=ALPHA).step(rows(12, seed=rank), torch.zeros(12)) for rank in range(2)]
    mean = (alone[0][0].loss + alone[1][0].loss) / 2
    for rank, (output, gradient) in enumerate(results):
        torch.testing.assert_close(output.loss, mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(output.cross_entropy, torch.cat([one[0].cross_entropy for one in alone]))
        assert torch.equal(output.correct, torch.cat([one[0].correct for one in alone]))
        torch.testing.assert_close(gradient, alone[rank][1] / 2, rtol=1e-12, atol=0)
