"""The loss foretold for an untrained network, against the loss of random embeddings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mxface.losses import HeadConfig, SoftmaxHead
from mxface.losses.adaface import AdaFace
from mxface.losses.curricular import CurricularFace
from mxface.losses.first_loss import cosine_quantile, expected_first_loss, first_loss_spread
from mxface.losses.magface import MagFace
from mxface.losses.margin import MarginRule

ROWS = 2000


def real_loss(head: SoftmaxHead) -> float:
    """Of embeddings of length sqrt(D), as the last BatchNorm gives them, and random labels."""
    generator = torch.Generator().manual_seed(1)
    config = head.config
    losses = []
    for _ in range(4):
        embedding = torch.randn((ROWS // 4, config.emb_size), generator=generator)
        label = torch.randint(config.num_classes, (ROWS // 4,), generator=generator)
        losses.append(float(head(embedding, label).loss.detach()))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("options", "rule", "tolerance"),
    [
        ({"kind": "softmax", "num_classes": 2000, "emb_size": 512}, None, 0.01),
        ({"s": 64.0, "num_classes": 2000, "emb_size": 512}, None, 0.02),
        ({"s": 64.0, "m2": 0.5, "num_classes": 2000, "emb_size": 512}, None, 0.02),
        ({"s": 64.0, "m2": 0.5, "num_classes": 3000, "emb_size": 64}, None, 0.03),  # few classes make the sum
        ({"s": 16.0, "m3": 0.35, "num_classes": 20000, "emb_size": 128}, None, 0.02),
        ({"s": 64.0, "m1": 1.0, "m2": 0.3, "m3": 0.2, "num_classes": 40, "emb_size": 512}, None, 0.03),
        ({"s": 64.0, "m1": 1.35, "num_classes": 500, "emb_size": 256}, None, 0.03),
        ({"s": 64.0, "m2": 0.5, "sub_centres": 3, "num_classes": 1000, "emb_size": 512}, None, 0.02),
        ({"s": 64.0, "num_classes": 1000, "emb_size": 512}, CurricularFace(0.5), 0.03),
        (
            {"s": 64.0, "num_classes": 1000, "emb_size": 512},
            MagFace(l_a=10, u_a=110, l_m=0.45, u_m=0.8, lambda_g=20),
            0.03,
        ),
        ({"s": 64.0, "num_classes": 1000, "emb_size": 512}, AdaFace(0.4, 0.333), 0.03),
    ],
)
def test_the_first_loss_is_foretold(options: dict[str, Any], rule: MarginRule | None, tolerance: float) -> None:
    head = SoftmaxHead(HeadConfig(**options), generator=torch.Generator().manual_seed(0), rule=rule)
    foretold = expected_first_loss(head)
    assert foretold == pytest.approx(real_loss(head), rel=tolerance)


def test_the_margin_that_counts_is_the_present_share() -> None:
    head = SoftmaxHead(HeadConfig(num_classes=500, emb_size=128, m2=0.5), generator=torch.Generator().manual_seed(0))
    whole = expected_first_loss(head)
    head.margin_share = 0.0
    without = expected_first_loss(head)
    assert whole is not None
    assert without is not None
    assert whole > without + 20
    assert without == pytest.approx(real_loss(head), rel=0.03)


def test_the_spread_of_small_batches_is_foretold() -> None:
    head = SoftmaxHead(HeadConfig(num_classes=1000, emb_size=64, s=32.0), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(300):
        embedding = torch.randn((16, 64), generator=generator)
        losses.append(head(embedding, torch.randint(1000, (16,), generator=generator)).loss.detach())
    assert first_loss_spread(head, 16) == pytest.approx(float(torch.stack(losses).std()), rel=0.15)


def test_many_classes_cost_nothing_and_a_small_scale_gives_the_textbook_figure() -> None:
    config = HeadConfig(num_classes=10, emb_size=512, s=8.0)
    head = SoftmaxHead(config, generator=torch.Generator().manual_seed(0))
    object.__setattr__(config, "num_classes", 5_000_000)  # without five million centres
    assert expected_first_loss(head) == pytest.approx(math.log(5e6) + 8**2 / 2 / 512, rel=1e-3)


def test_losses_with_other_parts_are_not_foretold() -> None:
    head = SoftmaxHead(HeadConfig(num_classes=10, emb_size=16, inter_weight=1.0))
    assert expected_first_loss(head) is None


def test_quantiles_of_the_cosine_are_those_of_random_directions() -> None:
    dim = 32
    vectors = torch.randn((200_000, dim), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cosines = vectors[:, 0] / vectors.norm(dim=1)
    probability = torch.tensor([0.01, 0.3, 0.5, 0.9, 0.999], dtype=torch.float64)
    torch.testing.assert_close(cosine_quantile(probability, dim), cosines.quantile(probability), rtol=0.02, atol=2e-3)
