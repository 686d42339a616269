"""What is said before the first batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.records import pack_people, pack_plain
from tests.train.tiny import configure, tiny_embedding

from mxface.errors import ConfigError, DataError
from mxface.loaders import RecordDataset
from mxface.symbols import get_symbol
from mxface.train.config import TrainConfig
from mxface.train.memory import MemoryForecast
from mxface.train.overlap import Overlap
from mxface.train.preflight import (
    FirstLoss,
    Identities,
    Preflight,
    ends_in_batchnorm,
    has_batchnorm,
    require_batchnorm_can_learn,
    require_labels_in_range,
)

EMORE = Identities(images=5_822_653, identities=85_742, least=1, median=55, most=602, single=1200)
RECIPE = configure(batch_size=512, lr=0.1, lr_steps=(100_000, 160_000, 220_000), max_steps=0)
MEMORY = MemoryForecast(
    parts={
        "process": 0.25e9,
        "data": 0.14e9,
        "parameters": 0.26e9,
        "momentum": 0.26e9,
        "gradients": 0.26e9,
        "class centres": 0.35e9,
        "activations": 12.3e9,
        "head": 0.2e9,
    },
    available=60e9,
    resident=1e9,
    sharers=4,
)
OVERLAP_WORDS = (
    "lfw: 12 of its 7701 pictures are the same as one of 19995 of the 5822653 training images, by 16x16 thumbnails; of "
    "13 identities (labels 4, 20, 21, 22, 23, 24, 25, 26, 27, 28 and 3 more; image 291, for one). 40 of its 6000 pairs "
    "show these people: its accuracy is not that of people never seen. Whom both sets have in other photographs alone"
)


def preflight(config: TrainConfig = RECIPE, **changes: Any) -> Preflight:
    flight = Preflight(
        config=config,
        device="cpu",
        ranks=4,
        num_classes=85_742,
        has_batchnorm=True,
        parameters=65_150_912,
        flops=24_200_000_000,
        identities=EMORE,
        memory=MEMORY,
        first_loss=FirstLoss(mean=45.76, spread=0.1, grown=45.76),
        overlaps=(),
    )
    return replace(flight, **changes)


def test_the_table() -> None:
    assert preflight().lines() == [
        "pre-flight",
        "  device     cpu, 4 rank(s) of 128 images: batches of 512",
        "  network    65.2M parameters, 24.2G FLOPs an image",
        "  memory     14.02 GB a rank, 60.0 GB free: process 0.25, data 0.14, parameters 0.26, momentum 0.26,",
        "             gradients 0.26, class centres 0.35, activations 12.30, head 0.20",
        "  images     5822653 of 85742 identities, 1 to 602 each, median 55; 1200 have one; 85742 classes",
        "  rate       0.1 with momentum 0.9 (in the long run 1); 0.1 for 512 images",
        "  epochs     11372 batches each; rate 0.01 from 8.8, 0.001 from 14.1, 0.0001 from 19.3",
        "  first loss about 45.76",
    ]
    assert preflight().warnings() == []


def test_it_fits_a_hundred_columns_and_leaves_out_what_is_not_known() -> None:
    config = configure(batch_size=99_999_996, lr=0.123456789, max_steps=12_345_678, lr_steps=tuple(range(1, 60)))
    reasons = {"memory": "nobody knows this engine", "first_loss": "the run goes on from batch 5"}
    flight = preflight(config, **reasons, identities=replace(EMORE, images=599_999_999))
    lines = flight.lines()
    assert max(map(len, lines)) <= 100
    assert "  memory     not foretold: nobody knows this engine" in lines
    assert "  first loss not foretold: the run goes on from batch 5" in lines
    assert not [warning for warning in flight.warnings() if "GB" in warning]


def test_a_short_run_at_one_rate_is_no_fault() -> None:
    flight = preflight(replace(RECIPE, max_steps=50_000))
    assert "  epochs     11372 batches each; one rate; end at 4.4" in flight.lines()
    assert flight.warnings() == []


def test_the_rate_is_compared_at_512_images() -> None:
    (line,) = (line for line in preflight(configure(batch_size=128, lr=0.1)).lines() if "rate  " in line)
    assert line.endswith("(in the long run 1); 0.4 for 512 images")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory": replace(MEMORY, available=30e9)}, "about 56.1 GB are needed here and 30.0 GB are free: a smaller"),
        ({"num_classes": 120_000}, "120000 classes, but only 85742 identities have images"),
        ({"identities": replace(EMORE, single=50_000)}, "50000 of 85742 identities have one image"),
        ({"config": replace(RECIPE, batch_size=16)}, "4 images a rank: BatchNorm"),
        (
            {"config": replace(RECIPE, batch_size=16)},
            "--lr 0.1 for a batch of 16 is as 3.2 for 512 images, 32 times the",
        ),
        ({"config": replace(RECIPE, max_steps=170_000)}, "--lr-steps 220000 lie behind max_steps 170000"),
        ({"config": configure(batch_size=512, margin_warmup=9, max_steps=5)}, "--margin-warmup 9 is beyond max_steps"),
        (
            {
                "overlaps": [
                    Overlap(
                        name="lfw",
                        pictures=7701,
                        found=12,
                        pairs=6000,
                        known=40,
                        labels=(4, *range(20, 32)),
                        looked_at=19_995,
                        training=5_822_653,
                        example=291,
                    )
                ]
            },
            OVERLAP_WORDS,
        ),
    ],
)
def test_what_cannot_work_is_said(changes: dict[str, Any], words: str) -> None:
    found = [warning for warning in preflight(**changes).warnings() if words in warning]
    assert len(found) == 1


def test_few_images_a_rank_are_no_fault_of_a_network_without_batchnorm() -> None:
    few = preflight(configure(batch_size=16, lr=0.01))
    assert any("BatchNorm" in warning for warning in few.warnings())
    assert replace(few, has_batchnorm=False).warnings() == []


def test_graphs_are_asked_for_batchnorm() -> None:
    spherenet = get_symbol("spherenet", family="src", num_layers=20, emb_size=64)
    y1 = get_symbol("fmobilefacenet", emb_size=64, net_output="GDC", net_blocks=(1, 1, 1, 1))
    assert (has_batchnorm(spherenet), ends_in_batchnorm(spherenet)) == (False, False)
    assert (has_batchnorm(y1), ends_in_batchnorm(y1)) == (True, True)
    inside = get_symbol("fmobilefacenet", emb_size=64, net_output="F", net_blocks=(1, 1, 1, 1))
    assert (has_batchnorm(inside), ends_in_batchnorm(inside)) == (True, False)


def test_identities_of_a_set(tmp_path: Path) -> None:
    dataset = RecordDataset(pack_people(tmp_path / "train.rec", [1, 4, 2, 1]))
    assert Identities.of(dataset) == Identities(images=8, identities=4, least=1, median=1, most=4, single=2)
    filtered = RecordDataset(tmp_path / "train.rec", images_filter=2)
    assert Identities.of(filtered) == Identities(images=6, identities=2, least=2, median=3, most=4, single=0)


@pytest.mark.parametrize("labels", [[0, 1, 3], [-1, 0, 1]])
def test_labels_without_a_class_are_refused_before_training(tmp_path: Path, labels: list[float]) -> None:
    dataset = RecordDataset(pack_plain(tmp_path / "train.rec", labels))
    with pytest.raises(DataError, match=f"labels from {min(labels)} to {max(labels)}, but num_classes is 3"):
        require_labels_in_range(dataset, 3)
    require_labels_in_range(RecordDataset(pack_plain(tmp_path / "good.rec", [0, 2, 1])), 3)


def test_one_image_a_rank_is_refused_where_batchnorm_would_see_single_values() -> None:
    with pytest.raises(ConfigError, match="one image a rank: BatchNorm fc1 would normalise single values"):
        require_batchnorm_can_learn(tiny_embedding(), 1, (8, 8, 3))
    require_batchnorm_can_learn(tiny_embedding(), 2, (8, 8, 3))
    y1 = get_symbol("fmobilefacenet", emb_size=128, net_output="GDC", net_blocks=(1, 4, 6, 2))
    with pytest.raises(ConfigError, match="one image a rank"):
        require_batchnorm_can_learn(y1, 1, (112, 112, 3))
