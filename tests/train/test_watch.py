"""Signs of a run that learns nothing."""

from __future__ import annotations

import re

import pytest
import torch

from mxface.train.watch import STEPS_WITHOUT_A_HIT, Watch

SPREAD = torch.randn((16, 32), generator=torch.Generator().manual_seed(0))


def test_a_sound_run_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(expected_loss=40.0)
    watch.first_loss(41.0)
    for number in range(300):
        watch.window(steps=20, accuracy=0.0, loss=40.0 - number / 10, embedding=SPREAD)
    watch.window(steps=10 * STEPS_WITHOUT_A_HIT, accuracy=0.01, loss=40.0, embedding=SPREAD)
    watch.verification("lfw", 0.93)
    assert caplog.text == ""


@pytest.mark.parametrize("loss", [30.0, 50.0])
def test_a_first_loss_far_from_the_expected_one(loss: float, caplog: pytest.LogCaptureFixture) -> None:
    Watch(expected_loss=40.0).first_loss(loss)
    assert f"the first loss is {loss:.2f}, and 40.00 was expected" in caplog.text
    caplog.clear()
    Watch(expected_loss=40.0, loss_spread=1.0).first_loss(loss)  # 8 and three times 1 are allowed
    Watch().first_loss(loss)
    assert caplog.text == ""


def test_no_hit_at_an_unchanged_loss_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for _ in range(3 * STEPS_WITHOUT_A_HIT // 500):
        watch.window(steps=500, accuracy=0.0, loss=39.5, embedding=SPREAD)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"accuracy is 0 over {STEPS_WITHOUT_A_HIT} batches, and the loss 39.50 is where it began (39.50)"
    ]


def test_a_loss_that_grows(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(expected_loss=13.0)
    watch.window(steps=20, accuracy=0.1, loss=21.0, embedding=SPREAD)
    watch.window(steps=20, accuracy=0.1, loss=41.0, embedding=SPREAD)
    assert caplog.text == ""
    watch.window(steps=20, accuracy=0.1, loss=44.0, embedding=SPREAD)
    assert "the loss has grown from 21.00 to 44.00: a smaller --lr" in caplog.text


def test_a_coin_is_named_once_a_set(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for name in ("lfw", "lfw", "agedb_30"):
        watch.verification(name, 0.512)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["lfw", "agedb_30"]


@pytest.mark.parametrize(
    ("embedding", "words"),
    [
        (SPREAD * 1e-6, "embeddings are 5.7e-06 long"),
        (SPREAD * 1e6, "embeddings are 5.7e.06 long"),
        (torch.ones(16, 32) + SPREAD * 0.01, "point the same way .mean cosine 0.99"),
    ],
)
def test_collapsed_embeddings(embedding: torch.Tensor, words: str, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for _ in range(2):
        watch.window(steps=1, accuracy=0.5, loss=1.0, embedding=embedding)
    (record,) = caplog.records
    assert re.search(words, record.getMessage())
