"""The loss foretold for an untrained network, against the loss of random embeddings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mxface.losses import HeadConfig, SoftmaxHead
from mxface.losses.adaface import AdaFace
from mxface.losses.class_shard import expected_sample
from mxface.losses.curricular import CurricularFace
from mxface.losses.first_loss import cosine_quantile, depends_on_length, expected_first_loss, first_loss_spread
from mxface.losses.magface import MagFace
from mxface.losses.margin import CombinedMargin, MarginRule
from mxface.losses.threshold import ThresholdMargin

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


def foretell(head: SoftmaxHead) -> float:
    return expected_first_loss(head.config, head.rule)


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
        ({"s": 64.0, "m2": 0.5, "num_classes": 20, "emb_size": 64, "inter_weight": 50.0}, None, 0.03),
        ({"kind": "softmax", "num_classes": 100, "emb_size": 256, "centre_weight": 0.1}, None, 0.01),
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
    foretold = foretell(head)
    assert foretold == pytest.approx(real_loss(head), rel=tolerance)


def test_the_margin_that_counts_is_the_present_share() -> None:
    head = SoftmaxHead(HeadConfig(num_classes=500, emb_size=128, m2=0.5), generator=torch.Generator().manual_seed(0))
    whole = foretell(head)
    head.margin_share = 0.0
    without = foretell(head)
    assert whole > without + 20
    assert without == pytest.approx(real_loss(head), rel=0.03)


def test_the_spread_of_small_batches_is_foretold() -> None:
    head = SoftmaxHead(HeadConfig(num_classes=1000, emb_size=64, s=32.0), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(300):
        embedding = torch.randn((16, 64), generator=generator)
        losses.append(head(embedding, torch.randint(1000, (16,), generator=generator)).loss.detach())
    assert first_loss_spread(head.config, 16) == pytest.approx(float(torch.stack(losses).std()), rel=0.15)


def test_many_classes_cost_nothing_and_a_small_scale_gives_the_textbook_figure() -> None:
    config = HeadConfig(num_classes=10, emb_size=512, s=8.0)
    head = SoftmaxHead(config, generator=torch.Generator().manual_seed(0))
    object.__setattr__(config, "num_classes", 5_000_000)  # without five million centres
    assert foretell(head) == pytest.approx(math.log(5e6) + 8**2 / 2 / 512, rel=1e-3)


@pytest.mark.parametrize(
    ("num_classes", "batch_size", "rate"),
    [(10_572, 512, 0.01), (1000, 256, 0.1), (2000, 64, 0.3)],  # all labels' classes are in a sample, however small
)
def test_the_first_loss_on_a_sample_of_the_classes_is_foretold(num_classes: int, batch_size: int, rate: float) -> None:
    config = HeadConfig(num_classes=num_classes, emb_size=128, s=8.0)
    head = SoftmaxHead(config, generator=torch.Generator().manual_seed(0), sample_rate=rate)
    generator = torch.Generator().manual_seed(1)
    embedding = torch.randn((batch_size, 128), generator=generator)
    label = torch.randint(num_classes, (batch_size,), generator=generator)
    output, _ = head.step(embedding, label, lr=0.1, momentum=0.9, wd=0.0, step=1)
    num_sampled = expected_sample(num_classes, num_classes, rate, batch_size)
    foretold = expected_first_loss(head.config, head.rule, num_sampled=num_sampled)
    assert foretold == pytest.approx(float(output.loss), rel=0.03)


def test_losses_that_depend_on_the_length_of_embeddings_are_known() -> None:
    softmax = HeadConfig(num_classes=9, emb_size=8, kind="softmax")
    margin = HeadConfig(num_classes=9, emb_size=8)
    assert depends_on_length(softmax, CombinedMargin(1, 0, 0))
    for rule in (CombinedMargin(1, 0.5, 0), CurricularFace(0.5), ThresholdMargin(0.5, easy=False)):
        assert not depends_on_length(margin, rule)
    for rule in (AdaFace(0.4, 0.333), MagFace(l_a=10, u_a=110, l_m=0.45, u_m=0.8, lambda_g=20)):
        assert depends_on_length(margin, rule)


def test_quantiles_of_the_cosine_are_those_of_random_directions() -> None:
    dim = 32
    vectors = torch.randn((200_000, dim), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cosines = vectors[:, 0] / vectors.norm(dim=1)
    probability = torch.tensor([0.01, 0.3, 0.5, 0.9, 0.999], dtype=torch.float64)
    torch.testing.assert_close(cosine_quantile(probability, dim), cosines.quantile(probability), rtol=0.02, atol=2e-3)
