"""Mining: every triplet is one it may be, none is missed; bags and rounds are functions of seed and number; no end is
without a reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.ranks import run_threads
from torch import Tensor

from mxface.errors import ConfigError, DataError, NoTripletsError
from mxface.losses.triplet_mining import (
    BARREN_BAGS,
    Mined,
    MiningConfig,
    PhiloxDraws,
    TripletBags,
    batch_slices,
    mine,
    positive_pairs,
    select_triplets,
    unit_rows,
)
from mxface.ranks import Ranks

PEOPLE, IMAGES_EACH, EMB_SIZE = 20, 6, 8
LABELS = np.repeat(np.arange(PEOPLE) * 3 + 1, IMAGES_EACH)  # not 0, 1, 2 …: identities may have been filtered
CONFIG: dict[str, Any] = {"alpha": 0.5, "max_ap": 0.0, "batch_size": 24, "per_batch_size": 12, "seed": 7}


def embeddings(labels: np.ndarray, *, spread: float = 1.0, seed: int = 0) -> Tensor:
    """A cloud for every person."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((labels.max() + 1, EMB_SIZE))
    return torch.from_numpy(centres[labels] + spread * rng.standard_normal((len(labels), EMB_SIZE)))


def brute_force(units: Tensor, labels: np.ndarray, alpha: float, max_ap: float) -> dict[tuple[int, int], set[int]]:
    """Anchor and positive -> the negatives that may be drawn, by the definition."""
    distance = torch.cdist(units, units).square().numpy()
    candidates = {}
    for a, p in itertools.combinations(range(len(labels)), 2):
        if labels[a] == labels[p] and not (max_ap > 0 and distance[a, p] > max_ap):
            negatives = {
                n
                for n in range(len(labels))
                if labels[n] != labels[a] and distance[a, p] < distance[a, n] < distance[a, p] + alpha
            }
            if negatives:
                candidates[a, p] = negatives
    return candidates


@settings(deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    alpha=st.sampled_from([0.01, 0.3, 2.0]),
    max_ap=st.sampled_from([0.0, 0.5, 1.5]),
    mixed=st.booleans(),
    block_rows=st.integers(1, 9),
)
def test_every_pair_with_a_candidate_gives_one_of_its_triplets(
    counts: list[int], seed: int, alpha: float, max_ap: float, mixed: bool, block_rows: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    if mixed:  # a person's images need not follow one another
        labels = np.random.default_rng(seed).permutation(labels)
    units = unit_rows(embeddings(labels, seed=seed))
    found = select_triplets(
        units, labels, alpha=alpha, max_ap=max_ap, draws=PhiloxDraws(seed, 0), block_rows=block_rows
    )
    expected = brute_force(units, labels, alpha, max_ap)
    assert sorted((a, p) for a, p, _ in found.tolist()) == sorted(expected)
    assert all(n in expected[a, p] for a, p, n in found.tolist())


@given(st.lists(st.integers(0, 4), max_size=30))
def test_positive_pairs(labels: list[int]) -> None:
    expected = [(a, p) for a, p in itertools.combinations(range(len(labels)), 2) if labels[a] == labels[p]]
    anchors, positives = positive_pairs(np.array(labels, dtype=np.int64))
    assert list(zip(anchors.tolist(), positives.tolist(), strict=True)) == expected


def test_blocks_and_kind_of_number_do_not_change_the_choice() -> None:
    units = unit_rows(embeddings(LABELS))

    def choice(rows: Tensor, block_rows: int) -> list[list[int]]:
        return select_triplets(rows, LABELS, alpha=0.5, draws=PhiloxDraws(1, 2), block_rows=block_rows).tolist()  # type: ignore[no-any-return]

    assert choice(units, 1) == choice(units, 50) == choice(units, 10_000) == choice(units.float(), 50)


def test_the_negative_is_drawn_evenly_and_the_order_is_random() -> None:
    """One person of two images and ten strangers at one distance: each is as likely."""
    strangers = 10
    units = torch.eye(strangers + 2, dtype=torch.float64)
    units[1] = unit_rows(torch.tensor([[1.0, 0.2, *[0.0] * strangers]], dtype=torch.float64))[0]
    labels = np.r_[0, np.arange(strangers + 1)]
    drawn = [select_triplets(units, labels, alpha=3.0, draws=PhiloxDraws(0, bag))[0, 2] - 2 for bag in range(3000)]
    assert np.allclose(np.bincount(drawn, minlength=strangers) / len(drawn), 1 / strangers, atol=0.03)
    order = select_triplets(unit_rows(embeddings(LABELS)), LABELS, alpha=0.5, draws=PhiloxDraws(0, 0))[:, 0]
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.3


def test_draws_are_a_function_of_seed_and_bag_and_stay_what_they_are() -> None:
    """A run that resumes with another release must mine the same triplets."""
    counts = np.array([3, 1000, 10**6])
    draws = PhiloxDraws(42, 3)
    assert draws.choose(counts).tolist() == PhiloxDraws(42, 3).choose(counts).tolist() == [2, 990, 483460]
    assert draws.permutation(6).tolist() == [5, 0, 2, 3, 1, 4]
    assert len({tuple(PhiloxDraws(seed, bag).choose(counts)) for seed in (0, 1, -1) for bag in range(3)}) == 9


def make_bags(seed: int = 7, **options: Any) -> TripletBags:
    return TripletBags(LABELS, **{"images_per_identity": 4, "bag_size": 30, "seed": seed, **options})


def test_a_pass_shows_everybody_once() -> None:
    bags = make_bags()
    assert (bags.images_per_pass, bags.bags_per_pass) == (80, 2)
    one_pass = np.concatenate([bags.bag(2), bags.bag(3)])
    assert len(set(one_pass.tolist())) == len(one_pass) == 60
    people, counts = np.unique(LABELS[one_pass], return_counts=True)
    assert counts.max() == 4
    assert len(people) == PEOPLE * 60 // 80
    starts = np.flatnonzero(np.diff(LABELS[one_pass])) + 1
    assert len(starts) + 1 == len(people)  # a person's images lie together
    assert (np.diff(one_pass[:4]) < 0).any() or (np.diff(one_pass[4:8]) < 0).any()  # and not in the order of the file


def test_a_bag_is_a_function_of_seed_and_number() -> None:
    forwards, backwards = make_bags(), make_bags()
    numbers = range(6)
    there = [forwards.bag(number).tolist() for number in numbers]
    assert there == [backwards.bag(number).tolist() for number in reversed(numbers)][::-1]
    assert len({tuple(bag) for bag in there}) == len(there)
    assert there[0] != make_bags(seed=8).bag(0).tolist()


def test_few_images_of_a_person_are_all_taken() -> None:
    labels = np.array([5, 5, 9, 2, 2, 2])
    bags = TripletBags(labels, images_per_identity=5, bag_size=6, seed=0)
    assert sorted(bags.bag(0).tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bag_size": 81}, "triplet_bag_size is 81: expected 3 to 80, the images of one pass over 20 people"),
        ({"bag_size": 0}, "triplet_bag_size is 0"),
        ({"images_per_identity": 1}, "images_per_identity is 1: expected 2 or more"),
    ],
)
def test_bags_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_bags(**options)


def test_one_image_of_everybody_is_no_data() -> None:
    with pytest.raises(DataError, match="each of 9 people has one image"):
        TripletBags(np.arange(9), images_per_identity=2, bag_size=9, seed=0)


@pytest.mark.parametrize("change", [{"per_batch_size": 10}, {"per_batch_size": 0}, {"alpha": -0.1}, {"max_ap": -0.1}])
def test_configs_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"multiple of 3|expected 0 or more"):
        MiningConfig(**{**CONFIG, **change})


def test_slices_are_anchors_positives_negatives() -> None:
    triplets = np.array([[i, 100 + i, 200 + i] for i in range(5)])
    assert [part.tolist() for part in batch_slices(triplets, 6)] == [
        [0, 1, 100, 101, 200, 201],
        [2, 3, 102, 103, 202, 203],
    ]


def embedder(make: Callable[[np.ndarray], Tensor] = embeddings) -> tuple[Callable[[np.ndarray], Tensor], list[int]]:
    """A network that does not change, and how many images it was shown in each call."""
    table, calls = make(LABELS), []

    def embed(positions: np.ndarray) -> Tensor:
        calls.append(len(positions))
        return 30 * table[positions]

    return embed, calls


def run(first_bag: int = 0, **changes: Any) -> tuple[Mined, list[int]]:
    embed, calls = embedder()
    return mine(make_bags(), embed, MiningConfig(**{**CONFIG, **changes}), first_bag=first_bag), calls


def test_a_round_has_two_batches_of_whole_slices() -> None:
    mined, calls = run()
    assert len(mined.order) >= 2 * CONFIG["batch_size"]
    assert len(mined.order) % CONFIG["per_batch_size"] == 0
    assert mined.next_bag == len(calls)
    assert set(calls) == {30}
    assert mined.triplets * 3 >= len(mined.order)
    for part in LABELS[mined.order].reshape(-1, 3, CONFIG["per_batch_size"] // 3):
        anchor, positive, negative = part
        assert (anchor == positive).all()
        assert (anchor != negative).all()


def test_rounds_follow_from_the_bag_they_begin_with() -> None:
    first, _ = run()
    again, _ = run()
    assert first.order.tolist() == again.order.tolist()
    second, _ = run(first.next_bag)
    assert second.next_bag > first.next_bag
    assert second.order.tolist() != first.order.tolist()
    assert run(seed=8)[0].order.tolist() != first.order.tolist()


def test_rows_that_are_not_numbers_are_never_chosen() -> None:
    """The loader's way to say that an image is damaged."""
    damaged = np.arange(0, len(LABELS), 5)
    table = embeddings(LABELS)
    table[damaged] = torch.nan
    mined = mine(make_bags(), lambda positions: table[positions], MiningConfig(**CONFIG), first_bag=0)
    assert not np.isin(mined.order, damaged).any()
    assert len(mined.order) >= 2 * CONFIG["batch_size"]
    table[1:] = table[1]  # all but one alike
    with pytest.raises(DataError, match="the embedding has collapsed to one point"):
        mine(make_bags(), lambda positions: table[positions], MiningConfig(**CONFIG), first_bag=0)


def test_the_main_rank_chooses_for_all() -> None:
    """What the others embed may come from another processor: it must not count."""

    def mine_on(ranks: Ranks) -> Mined:
        embed, _ = embedder(lambda labels: embeddings(labels, seed=ranks.rank))
        return mine(make_bags(), embed, MiningConfig(**CONFIG), first_bag=0, ranks=ranks)

    expected, _ = run()
    for mined in run_threads(mine_on, 3):
        assert mined.order.tolist() == expected.order.tolist()
        assert (mined.next_bag, mined.triplets) == (expected.next_bag, expected.triplets)


def test_a_larger_batch_takes_more_bags() -> None:
    assert len(run(batch_size=240)[1]) > len(run(batch_size=12)[1])


@pytest.mark.parametrize(
    ("make", "changes", "reason"),
    [
        (lambda labels: torch.ones(len(labels), EMB_SIZE), {}, "the embedding has collapsed to one point; start from"),
        (lambda labels: torch.full((len(labels), EMB_SIZE), torch.nan), {}, "the embedding is not finite; go back to"),
        (lambda labels: embeddings(labels, spread=1e-3), {"alpha": 1e-6}, r"raise triplet_alpha \(1e-06\)"),
        (lambda labels: embeddings(labels, spread=9.0), {"max_ap": 1e-3}, "pairs above triplet_max_ap 0.001 are left"),
    ],
)
def test_nothing_found_ends_with_the_reason(make: Any, changes: dict[str, Any], reason: str) -> None:
    embed, calls = embedder(make)
    with pytest.raises(DataError, match=reason) as caught:
        mine(make_bags(), embed, MiningConfig(**{**CONFIG, **changes}), first_bag=0)
    # what a collapsed network has learned is not to be saved
    assert isinstance(caught.value, NoTripletsError) == ("raise" in reason or "max_ap" in reason)
    assert f"{BARREN_BAGS} bags of 30 images in a row gave no slice of 4 triplets (the last one " in str(caught.value)
    assert len(calls) == BARREN_BAGS


def test_a_bag_without_pairs_says_what_to_change() -> None:
    labels = np.r_[0, 0, np.arange(1, 200)]
    bags = TripletBags(labels, images_per_identity=2, bag_size=3, seed=3)
    table = torch.randn(len(labels), EMB_SIZE, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match=r"of 0 pairs of one person\): raise images_per_identity or triplet_bag_size"):
        mine(bags, lambda positions: table[positions], MiningConfig(**CONFIG), first_bag=0)


@pytest.mark.gpu
def test_a_gpu_chooses_the_same() -> None:
    units = unit_rows(embeddings(LABELS))
    cpu, gpu = (
        select_triplets(rows, LABELS, alpha=0.5, draws=PhiloxDraws(0, 0)).tolist() for rows in (units, units.cuda())
    )
    assert cpu == gpu
