"""Rounds of triplets: what a batch holds, how a round is resumed, how ranks share the mining, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.support.ranks import run_ranks, run_threads
from tests.support.records import pack_people
from tests.support.training import IMAGES_EACH, PEOPLE, write_tiny_set
from tests.train.test_ranks import SPHERENET, build_learner

from mxface.errors import ConfigError, DataError
from mxface.loaders import Batch, RecordDataset, TrainLoader
from mxface.losses.triplet_mining import BARREN_BAGS, MiningConfig, TripletBags
from mxface.ranks import Ranks
from mxface.recognition.config import LossConfig
from mxface.recognition.inputs import build_bags
from mxface.train.triplet_rounds import TripletRounds

SHAPE = (112, 112, 3)
BATCH = 12
SINGLE = Ranks.single()


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


class OneColour(MeanColours):
    """An embedding that has collapsed."""

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.ones_like(super().embed(images))


@pytest.fixture
def dataset(tmp_path: Path) -> RecordDataset:
    return RecordDataset(write_tiny_set(tmp_path / "tiny") / "train.rec")


def make_rounds(
    dataset: RecordDataset,
    *,
    ranks: Ranks = SINGLE,
    devices: int | None = None,
    bag_size: int = 24,
    batch_size: int = BATCH,
    shape: tuple[int, int, int] = SHAPE,
    alpha: float = 0.9,
    learner: Any = None,
    damaged_limit: float = 0.2,
) -> TripletRounds:
    """`devices` that a batch's triplets are cut for, where they are not the ranks."""
    loader, plain = (
        TrainLoader(
            dataset,
            batch_size=batch_size,
            image_shape=shape,
            rand_mirror=rand_mirror,
            rank=ranks.rank,
            num_ranks=ranks.count,
            damaged_limit=damaged_limit,
        )
        for rand_mirror in (True, False)
    )
    bags = make_bags(dataset, bag_size)
    size = batch_size // (devices or ranks.count)
    config = MiningConfig(alpha=alpha, max_ap=0.0, batch_size=batch_size, per_batch_size=size, seed=0)
    return TripletRounds(loader, plain, learner or MeanColours(), bags, config, say=lambda _line: None, ranks=ranks)


def make_bags(dataset: RecordDataset, bag_size: int = 24) -> TripletBags:
    return TripletBags(dataset.labels, images_per_identity=IMAGES_EACH, bag_size=bag_size, seed=0)


def mine(rounds: TripletRounds) -> list[Any]:
    """Mine a round: its order and length, the size of its slices, the next bag."""
    rounds.epoch(0)
    return [tensor.tolist() for tensor in rounds.tensors().values()]


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
    parts = run_threads(lambda ranks: list(make_rounds(dataset, ranks=ranks).epoch(0)), 2)
    for batch in (*parts[0], *parts[1]):
        assert len(batch.label) == BATCH // 2
        anchors, positives, negatives = np.split(batch.label, 3)
        assert (anchors == positives).all() and (anchors != negatives).all()
    mined = mine(make_rounds(dataset, devices=2))[0]
    order = np.concatenate([np.concatenate((first.index, second.index)) for first, second in zip(*parts, strict=True)])
    assert order.tolist() == mined[: len(order)]


@pytest.mark.parametrize("bag_size", [24, 17, 13])
@pytest.mark.parametrize("count", [2, 4])
def test_ranks_mine_what_one_does_and_each_reads_its_share(dataset: RecordDataset, count: int, bag_size: int) -> None:
    """Of 17 and 13 images some ranks have fewer than others, or none, in the second batch of 12."""

    def mine_on(ranks: Ranks) -> tuple[list[Any], list[int]]:
        own = RecordDataset(dataset.path)
        reads, read = [], own.images.read

        def note(number: int) -> Any:
            reads.append(number)
            return read(number)

        own.images.read = note  # type: ignore[method-assign]
        return mine(make_rounds(own, ranks=ranks, bag_size=bag_size)), reads

    expected = mine(make_rounds(dataset, devices=count, bag_size=bag_size))
    shown = run_threads(mine_on, count)
    assert [mined for mined, _ in shown] == [expected] * count
    num_bags, bags = expected[-1], make_bags(dataset, bag_size)
    for rank, (_, reads) in enumerate(shown):
        size, own = BATCH // count, []
        for number in range(num_bags):
            rows = np.resize(bags.bag(number), 2 * BATCH).reshape(-1, BATCH)  # filled up from the front
            own += rows[:, rank * size : (rank + 1) * size].ravel().tolist()
        assert sorted(reads) == sorted(own)


def mine_with_a_network(ranks: Ranks, path: Path) -> list[Any]:
    rounds = make_rounds(
        RecordDataset(path),
        ranks=ranks,
        devices=3,
        bag_size=20,
        batch_size=18,
        shape=(16, 16, 3),
        alpha=0.5,
        learner=build_learner(SPHERENET, ranks),
    )
    return mine(rounds)


def test_processes_with_a_network_mine_what_one_does(dataset: RecordDataset) -> None:
    expected = mine_with_a_network(SINGLE, dataset.path)
    assert expected[1] >= 36
    assert run_ranks(mine_with_a_network, 3, dataset.path) == [expected] * 3


def test_damaged_images_are_chosen_by_nobody_and_counted_once(dataset: RecordDataset, tmp_path: Path) -> None:
    """One in the share of each of two ranks."""
    damaged = {int(number) for number in make_bags(dataset).bag(0)[[0, BATCH // 2]]}
    broken = {number + 1: b"no picture" for number in damaged}
    torn = RecordDataset(pack_people(tmp_path / "torn.rec", [IMAGES_EACH] * PEOPLE, broken))

    def mine_on(ranks: Ranks) -> tuple[list[Any], list[int]]:
        rounds = make_rounds(torn, ranks=ranks)
        return mine(rounds), list(rounds._plain.damaged)

    shown = run_threads(mine_on, 2)
    assert [mined for mined, _ in shown] == [mine(make_rounds(torn, devices=2))] * 2
    order, length, *_ = shown[0][0]
    assert not damaged & set(order[:length])
    assert [sorted(met) for _, met in shown] == [sorted(damaged)] * 2

    def fail_on(ranks: Ranks) -> str:
        with pytest.raises(DataError) as caught:
            mine(make_rounds(torn, ranks=ranks, damaged_limit=0.05))
        return str(caught.value)

    accounts = run_threads(fail_on, 2)
    assert accounts[0] == accounts[1]
    assert "2 of 24 images are damaged, more than the 1 put up with" in accounts[0]


def test_all_ranks_end_with_the_same_sentence_where_nothing_is_found(dataset: RecordDataset) -> None:
    def fail_on(ranks: Ranks) -> str:
        with pytest.raises(DataError) as caught:
            mine(make_rounds(dataset, ranks=ranks, learner=OneColour()))
        return str(caught.value)

    accounts = run_threads(fail_on, 2)
    assert accounts[0] == accounts[1]
    assert accounts[0].startswith(f"{BARREN_BAGS} bags of 24 images in a row gave no slice")
    assert "the embedding has collapsed to one point" in accounts[0]


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
