"""Rounds of triplets: what a batch holds, how a round is resumed, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.support.training import IMAGES_EACH, PEOPLE, write_tiny_set

from mxface.errors import ConfigError
from mxface.loaders import Batch, RecordDataset, TrainLoader
from mxface.losses.triplet_mining import MiningConfig, TripletBags
from mxface.recognition.config import LossConfig
from mxface.recognition.inputs import build_bags
from mxface.train.triplet_rounds import TripletRounds

SHAPE = (112, 112, 3)
BATCH = 12


class MeanColours:
    """An embedding of pixels alone, so that a round depends on nothing else."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.averaged = 0

    def average_statistics(self) -> None:
        self.averaged += 1

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        blocks = images.reshape(len(images), 8, 14, 8, 14, 3).mean(axis=(2, 4))
        return (blocks.reshape(len(images), -1) - 100).astype(np.float32)


@pytest.fixture
def dataset(tmp_path: Path) -> RecordDataset:
    return RecordDataset(write_tiny_set(tmp_path / "tiny") / "train.rec")


def make_rounds(
    dataset: RecordDataset, *, num_ranks: int = 1, rank: int = 0, bag_size: int = 24, batch_size: int = BATCH
) -> TripletRounds:
    options = {"batch_size": batch_size, "image_shape": SHAPE}
    loader = TrainLoader(dataset, rank=rank, num_ranks=num_ranks, **options)
    plain = TrainLoader(dataset, rand_mirror=False, **options)
    bags = TripletBags(dataset.labels, images_per_identity=IMAGES_EACH, bag_size=bag_size, seed=0)
    size = batch_size // num_ranks
    config = MiningConfig(alpha=0.9, max_ap=0.0, batch_size=batch_size, per_batch_size=size, seed=0)
    return TripletRounds(loader, plain, MeanColours(), bags, config, say=lambda _line: None)  # type: ignore[arg-type]


def test_batches_are_anchors_positives_negatives(dataset: RecordDataset) -> None:
    assert PEOPLE * IMAGES_EACH == 24
    batches = list(make_rounds(dataset).epoch(0))
    assert len(batches) >= 2
    for batch in batches:
        anchors, positives, negatives = np.split(batch.label, 3)
        assert (anchors == positives).all() and (anchors != negatives).all()
        first, second, _ = np.split(batch.index, 3)
        assert (first != second).all()


def test_a_rank_has_whole_triplets_of_the_same_round(dataset: RecordDataset) -> None:
    for rank in range(2):
        for batch in make_rounds(dataset, num_ranks=2, rank=rank).epoch(0):
            assert len(batch.label) == BATCH // 2
            anchors, positives, negatives = np.split(batch.label, 3)
            assert (anchors == positives).all() and (anchors != negatives).all()
    parts = [[batch.index for batch in make_rounds(dataset, num_ranks=2, rank=rank).epoch(0)] for rank in range(2)]
    both = make_rounds(dataset, num_ranks=2)
    list(both.epoch(0))
    mined = both.tensors()["triplets/mined"].numpy()
    order = np.concatenate([np.concatenate(pair) for pair in zip(*parts, strict=True)])
    assert np.array_equal(order, mined[: len(order)])


def test_a_round_is_resumed_where_it_was_left(dataset: RecordDataset) -> None:
    whole = make_rounds(dataset)
    expected = [batch.index for round_number in range(2) for batch in whole.epoch(round_number)]
    first = make_rounds(dataset)
    seen = [next(iter(first.epoch(0))).index]
    resumed = make_rounds(dataset)
    for name, tensor in resumed.tensors().items():
        tensor.copy_(first.tensors()[name])
    seen += [batch.index for batch in resumed.epoch(0, BATCH)]
    seen += [batch.index for batch in resumed.epoch(1)]
    assert np.array_equal(np.concatenate(seen), np.concatenate(expected))


@pytest.mark.parametrize("per_batch_size", [6, 9])
def test_a_round_is_resumed_with_another_batch(dataset: RecordDataset, per_batch_size: int) -> None:
    """The slices of the state hold four triplets each: those left are put into slices of this run's size."""
    first = make_rounds(dataset)
    next(iter(first.epoch(0)))
    resumed = make_rounds(dataset, batch_size=per_batch_size)
    for name, tensor in resumed.tensors().items():
        tensor.copy_(first.tensors()[name])
    batches = list(resumed.epoch(0, BATCH))
    left = [tuple(triplet) for batch in list(first.epoch(0, BATCH)) for triplet in triplets_in(batch)]
    seen = [tuple(triplet) for batch in batches for triplet in triplets_in(batch)]
    assert seen == left[: len(left) - len(left) % (per_batch_size // 3)]
    again = make_rounds(dataset, batch_size=per_batch_size)
    for name, tensor in again.tensors().items():
        tensor.copy_(resumed.tensors()[name])
    rest = [batch.index for batch in again.epoch(0, BATCH + per_batch_size)]
    assert np.array_equal(rest, [batch.index for batch in batches[1:]])


def triplets_in(batch: Batch) -> npt.NDArray[np.int64]:
    return batch.index.reshape(3, -1).T


def test_statistics_are_averaged_before_mining(dataset: RecordDataset) -> None:
    rounds = make_rounds(dataset)
    list(rounds.epoch(0))
    learner = rounds._learner
    assert isinstance(learner, MeanColours) and learner.averaged == 1


def test_a_batch_above_the_bag_is_refused(dataset: RecordDataset) -> None:
    with pytest.raises(ConfigError, match=r"a batch of 12 images is more than the bag of 6 .*: raise triplet_bag_size"):
        make_rounds(dataset, bag_size=6)


def test_bags_of_a_small_data_set_are_all_of_it(dataset: RecordDataset, caplog: pytest.LogCaptureFixture) -> None:
    loss = LossConfig(loss_name="triplet", images_per_identity=5, triplet_bag_size=7200, triplet_alpha=0.3)
    bags = build_bags(dataset, loss, seed=0)
    assert bags.bag_size == bags.images_per_pass == 5 * PEOPLE
    assert "triplet_bag_size 7200 is more than the 20 images of one pass" in caplog.text
