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
        watch.window(step=20 * number + 20, steps=20, accuracy=0.0, loss=40.0 - number / 10, embedding=SPREAD)
    many = 10 * STEPS_WITHOUT_A_HIT
    watch.window(step=6000 + many, steps=many, accuracy=0.01, loss=40.0, embedding=SPREAD)
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
    for number in range(3 * STEPS_WITHOUT_A_HIT // 500):
        watch.window(step=500 * number + 500, steps=500, accuracy=0.0, loss=39.5, embedding=SPREAD)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"accuracy is 0 over {STEPS_WITHOUT_A_HIT} batches, and the loss 39.50 is where it began (39.50)"
    ]


def test_a_loss_that_grows(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(expected_loss=13.0)
    watch.window(step=20, steps=20, accuracy=0.1, loss=21.0, embedding=SPREAD)
    watch.window(step=40, steps=20, accuracy=0.1, loss=41.0, embedding=SPREAD)
    assert caplog.text == ""
    watch.window(step=60, steps=20, accuracy=0.1, loss=44.0, embedding=SPREAD)
    assert "the loss has grown from 21.00 to 44.00: a smaller --lr, --clip-grad or --margin-warmup" in caplog.text


def test_a_loss_that_grows_with_the_margin_is_sound(caplog: pytest.LogCaptureFixture) -> None:
    """What arcface on 10,000 classes does, whose untrained loss is 13.1 without the margin and 43.8 with it."""
    watch = Watch(13.1, grown_loss=43.8, margin_warmup=4000)
    for step in range(500, 4001, 500):  # never a hit, and a loss that only grows
        watch.window(step=step, steps=500, accuracy=0.0, loss=13.1 + step / 150, embedding=SPREAD)
    watch.window(step=4020, steps=40, accuracy=0.0, loss=95.0, embedding=SPREAD)  # 20 of them with a part of it
    watch.window(step=4060, steps=40, accuracy=0.0, loss=38.0, embedding=SPREAD)
    watch.window(step=4100, steps=40, accuracy=0.0, loss=87.0, embedding=SPREAD)
    assert caplog.text == ""
    watch.window(step=4140, steps=40, accuracy=0.0, loss=90.0, embedding=SPREAD)
    assert "grown from 43.80 to 90.00: a smaller --lr, --clip-grad or a longer --margin-warmup" in caplog.text


def test_a_resumed_run_is_compared_with_itself_after_the_warmup(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(margin_warmup=100)
    for step, loss in ((90, 10.0), (110, 21.0), (130, 30.0), (150, 59.0)):
        watch.window(step=step, steps=20, accuracy=0.0, loss=loss, embedding=SPREAD)
    assert caplog.text == ""
    watch.window(step=170, steps=20, accuracy=0.0, loss=61.0, embedding=SPREAD)
    assert "grown from 30.00 to 61.00" in caplog.text


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
    for step in (1, 2):
        watch.window(step=step, steps=1, accuracy=0.5, loss=1.0, embedding=embedding)
    (record,) = caplog.records
    assert re.search(words, record.getMessage())
