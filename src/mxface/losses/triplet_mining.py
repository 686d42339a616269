"""Which triplets to train on: semi-hard ones (FaceNet, Schroff et al. 2015) of a bag of images, as pure functions.

For every anchor and every later positive of the same person, the negatives of other people with

    |a - p|^2 < |a - n|^2 < |a - p|^2 + alpha

are candidates, and one is drawn from them; a pair without any gives no triplet, nor does one with |a - p|^2 > max_ap
where max_ap is above 0. Distances are those of unit rows. Nothing here knows a network or a file: `mine` is given
`embed`, and embeddings may lie on any device. Source: spec data §6; proved in tests/oracle/test_triplet.py.

A training loop joins it so, once for each epoch (`bag` counts on from round to round, and belongs to a saved state):

    bags = TripletBags(dataset_labels, images_per_identity=5, bag_size=7200, seed=seed)
    mined = mine(bags, embed, config, first_bag=bag)    # embed(positions (n,)) -> (n, D)
    order, bag = mined.order, mined.next_bag            # rows of the data set; ranks take theirs of each batch

Of many ranks the main one chooses and tells the others: on another processor a borderline pair might fall otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mxface.errors import ConfigError, DataError, NoTripletsError
from mxface.losses.fused_softmax import l2_norm
from mxface.ranks import Ranks

Ints = npt.NDArray[np.int64]
Embed = Callable[[Ints], Tensor]
SINGLE = Ranks.single()

BLOCK_ROWS = 256  # anchors whose distances to the whole bag are held at once: (256, 7200) float32 are 7 MB
BARREN_BAGS = 5  # in a row without one chunk of triplets: then mining gives up
BATCHES_PER_ROUND = 2  # at least, as in 2019
COLLAPSED = 1e-6  # mean squared distance between images below which float32 leaves nothing but rounding
_PEOPLE_STREAM, _IMAGE_STREAM, _DRAW_STREAM = 0, 1, 2


class Draws(Protocol):
    """The chance in `select_triplets`."""

    def choose(self, counts: Ints) -> Ints:
        """A number in [0, count) for every count (all above 0)."""

    def permutation(self, count: int) -> Ints:
        """A random order of `range(count)`."""


class NumpyDraws:
    """The draws of 2019's iterator, one `randint` a pair and a `shuffle`, from NumPy's legacy generator."""

    def __init__(self, random: np.random.RandomState) -> None:
        self._random = random

    def choose(self, counts: Ints) -> Ints:
        return np.array([self._random.randint(count) for count in counts], dtype=np.int64)

    def permutation(self, count: int) -> Ints:
        order = list(range(count))
        self._random.shuffle(order)
        return np.array(order, dtype=np.int64)


class PhiloxDraws:
    """Draws that are a function of (seed, bag) alone: raw words of Philox, which NumPy promises to keep."""

    def __init__(self, seed: int, bag: int) -> None:
        self._words = _philox(seed, bag, _DRAW_STREAM)

    def choose(self, counts: Ints) -> Ints:
        uniform = (self._words.random_raw(len(counts)) >> np.uint64(11)) * 2.0**-53
        return np.asarray(uniform * counts, dtype=np.int64)

    def permutation(self, count: int) -> Ints:
        return np.argsort(self._words.random_raw(count), kind="stable")


def unit_rows(embeddings: Tensor) -> Tensor:
    """Rows (n, D) on the unit sphere; a row of zeros stays one."""
    return embeddings / l2_norm(embeddings)


@torch.no_grad()
def select_triplets(
    embeddings: Tensor,
    labels: Ints,
    *,
    alpha: float,
    max_ap: float = 0.0,
    draws: Draws,
    block_rows: int = BLOCK_ROWS,
) -> Ints:
    """Rows (anchor, positive, negative) of a bag, (T, 3), shuffled. `embeddings` (n, D) are unit rows, `labels` (n,).

    Distances to the negatives come from products in the embeddings' dtype, those to the positives from differences in
    float64, as 2019's. `block_rows` bounds the memory: (4 block_rows, n) values at five images a person.
    """
    anchors, positives = positive_pairs(labels)
    people = torch.as_tensor(np.unique(labels, return_inverse=True)[1].reshape(-1), device=embeddings.device)
    triplets = [np.empty((0, 3), np.int64)]
    for start in range(0, len(labels), block_rows):
        first, last = np.searchsorted(anchors, (start, start + block_rows))
        if first == last:
            continue
        pair_anchor = torch.as_tensor(anchors[first:last], device=embeddings.device)
        pair_positive = torch.as_tensor(positives[first:last], device=embeddings.device)
        block = embeddings[start : start + block_rows]
        to_all = squared_distances(block, embeddings)
        # strangers only: no distance is above an infinite one, none below
        to_all[people[start : start + block_rows, None] == people[None, :]] = torch.inf
        to_positive = (embeddings[pair_anchor].double() - embeddings[pair_positive].double()).square().sum(dim=1)
        candidates = to_all[pair_anchor - start]
        near = to_positive[:, None].to(candidates.dtype)
        usable = (candidates > near) & (candidates < near + alpha)
        if max_ap > 0:
            usable &= near <= max_ap
        chosen, negatives = draw_column(usable, draws)
        pairs = np.arange(first, last)[chosen]
        triplets.append(np.column_stack((anchors[pairs], positives[pairs], negatives)))
    found = np.concatenate(triplets)
    return found[draws.permutation(len(found))]


def positive_pairs(labels: Ints) -> tuple[Ints, Ints]:
    """All (anchor, later row of the same label), in the order of anchors, then of positives."""
    by_label = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[by_label], return_index=True, return_counts=True)
    place = np.arange(len(labels))
    later = np.repeat(starts + counts, counts) - place - 1  # rows of the same label after each, in this order
    first = np.repeat(place, later)
    step = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later) + 1
    anchors, positives = by_label[first], by_label[first + step]
    order = np.lexsort((positives, anchors))
    return anchors[order], positives[order]


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """|r - o|^2 of unit rows, (R, O), by one product."""
    return torch.addmm(rows.new_full((1, 1), 2.0), rows, others.t(), alpha=-2)


def draw_column(usable: Tensor, draws: Draws) -> tuple[Ints, Ints]:
    """The rows of a (P, n) mask with any True, and one column of each, drawn from those that are True."""
    counts = usable.sum(dim=1).cpu().numpy()
    chosen = np.flatnonzero(counts)
    picks = draws.choose(counts[chosen])
    columns = usable.nonzero()[:, 1]  # row after row
    starts = (np.cumsum(counts) - counts)[chosen]
    return chosen, columns[torch.as_tensor(starts + picks, device=columns.device)].cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """What is mined. `batch_size` is of a step over all ranks, `per_batch_size` of one, which has whole triplets."""

    alpha: float
    max_ap: float
    batch_size: int
    per_batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.per_batch_size < 3 or self.per_batch_size % 3:
            raise ConfigError(
                f"per_batch_size is {self.per_batch_size}: triplets need a multiple of 3 (anchors, positives, "
                "negatives), such as 60"
            )
        if self.alpha < 0 or self.max_ap < 0:
            raise ConfigError(f"triplet_alpha is {self.alpha}, triplet_max_ap {self.max_ap}: expected 0 or more")


class TripletBags:
    """The bags of images that triplets are looked for in: bag number k is a function of (seed, k).

    A pass takes up to `images_per_identity` random images of every person, the people in random order, and cuts them
    into bags of `bag_size` in a row; what is left over is not used, and the next pass begins. `labels` (N,) are those
    of the data set's images.
    """

    def __init__(self, labels: Ints, *, images_per_identity: int, bag_size: int, seed: int) -> None:
        if images_per_identity < 2:
            raise ConfigError(f"images_per_identity is {images_per_identity}: expected 2 or more, or no pair is found")
        self.labels = labels
        self._person, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
        self._person = self._person.reshape(-1)
        self.images_per_identity = images_per_identity
        self._seed = seed
        self._taken = np.minimum(counts, images_per_identity)
        self.images_per_pass = int(self._taken.sum())
        self.bag_size = bag_size
        if not 3 <= bag_size <= self.images_per_pass:
            raise ConfigError(
                f"triplet_bag_size is {bag_size}: expected 3 to {self.images_per_pass}, the images of one pass over "
                f"{len(counts)} people with up to {images_per_identity} each (images_per_identity)"
            )
        if (counts < 2).all():
            raise DataError(f"each of {len(counts)} people has one image: triplets need two of a person")
        self._pass_number = -1
        self._pass = np.empty(0, np.int64)

    @property
    def bags_per_pass(self) -> int:
        return self.images_per_pass // self.bag_size

    def bag(self, number: int) -> Ints:
        """Positions in the data set, (bag_size,), a person's images in a row."""
        pass_number, place = divmod(number, self.bags_per_pass)
        if pass_number != self._pass_number:
            self._pass_number, self._pass = pass_number, self._make_pass(pass_number)
        return self._pass[place * self.bag_size : (place + 1) * self.bag_size]

    def _make_pass(self, number: int) -> Ints:
        turn = _philox(self._seed, number, _PEOPLE_STREAM).random_raw(len(self._taken))
        word = _philox(self._seed, number, _IMAGE_STREAM).random_raw(len(self.labels))
        order = np.lexsort((word, self._person, turn[self._person]))
        person = self._person[order]
        starts = np.flatnonzero(np.r_[True, person[1:] != person[:-1]])
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        return np.asarray(order[rank < self.images_per_identity])


class Mined(NamedTuple):
    """`order` (K,), positions in the data set, slice after slice of anchors, positives, negatives; the bag to go on
    with; how many triplets were found."""

    order: Ints
    next_bag: int
    triplets: int


def mine(bags: TripletBags, embed: Embed, config: MiningConfig, *, first_bag: int, ranks: Ranks = SINGLE) -> Mined:
    """Go through bags until there are images for two batches; each bag is embedded once, with the network as it is.

    `embed` is given positions in the data set (n,) and returns their raw embeddings (n, D); a row that is not finite,
    of a damaged image, is never chosen. All ranks call, and embed, together; the main one's rows are those that count.

    Raises NoTripletsError, with numbers and ways out, when several bags in a row give too few triplets for one slice
    of a batch; a plain DataError where that is so because the embedding has collapsed or is not finite. All ranks do.
    """
    parts: list[Ints] = []
    found = barren = 0
    number = first_bag
    while sum(map(len, parts)) < BATCHES_PER_ROUND * config.batch_size:
        positions = bags.bag(number)
        labels = bags.labels[positions]
        units = unit_rows(embed(positions))
        triplets = ranks.on_main(partial(choose_triplets, units, labels, config, bag=number))
        number += 1
        found += len(triplets)
        before = len(parts)
        parts.extend(positions[slice_] for slice_ in batch_slices(triplets, config.per_batch_size))
        barren = 0 if len(parts) > before else barren + 1
        if barren == BARREN_BAGS:
            raise ranks.on_main(partial(barren_error, units, labels, len(triplets), config))
    return Mined(np.concatenate(parts), number, found)


def choose_triplets(units: Tensor, labels: Ints, config: MiningConfig, *, bag: int) -> Ints:
    """The triplets (T, 3) of bag number `bag`, unit rows (n, D); none where the embedding has collapsed."""
    if mean_distance(units) < COLLAPSED:
        return np.empty((0, 3), np.int64)
    draws = PhiloxDraws(config.seed, bag)
    return select_triplets(units, labels, alpha=config.alpha, max_ap=config.max_ap, draws=draws)


def batch_slices(triplets: Ints, per_batch_size: int) -> Iterator[Ints]:
    """The triplets (T, 3) as slices (per_batch_size,): anchors, then positives, then negatives; a rest is dropped."""
    count = per_batch_size // 3
    for start in range(0, len(triplets) - count + 1, count):
        yield triplets[start : start + count].T.reshape(-1)


def triplets_of_slices(slices: Ints, per_batch_size: int) -> Ints:
    """The triplets (T, 3) that `batch_slices` has put into (K,) rows, slice after slice."""
    return np.asarray(slices.reshape(-1, 3, per_batch_size // 3).transpose(0, 2, 1).reshape(-1, 3))


def mean_distance(units: Tensor) -> float:
    """Mean of |x - y|^2 over all pairs of those unit rows (n, D) that are finite; NaN where there are none."""
    units = units[torch.isfinite(units).all(dim=1)]
    count = len(units)
    if count < 2:
        return math.nan
    return float(2 - 2 * (units.double().sum(dim=0).square().sum() - count) / (count * (count - 1)))


def barren_error(units: Tensor, labels: Ints, triplets: int, config: MiningConfig) -> DataError:
    """What is raised where bags give no triplets: NoTripletsError where the embedding is sound."""
    kind = NoTripletsError if mean_distance(units) >= COLLAPSED else DataError
    return kind(explain_barren(units, labels, triplets, config))


@torch.no_grad()
def explain_barren(units: Tensor, labels: Ints, triplets: int, config: MiningConfig) -> str:
    """One sentence on why a bag gives no triplets: what was found, what is needed, the way out."""
    anchors, positives = (torch.as_tensor(rows, device=units.device) for rows in positive_pairs(labels))
    said = (
        f"{BARREN_BAGS} bags of {len(labels)} images in a row gave no slice of {config.per_batch_size // 3} triplets "
        f"(the last one {triplets}, of {len(anchors)} pairs of one person)"
    )
    apart = mean_distance(units)
    if math.isnan(apart):
        return f"{said}: the embedding is not finite; go back to an earlier model, with a lower --lr"
    if len(anchors) == 0:
        return f"{said}: raise images_per_identity or triplet_bag_size, or take people with more images"
    same = float((units[anchors] - units[positives]).square().sum(dim=1).nanmean())
    said += f"; mean squared distance {same:.4f} within a person, {apart:.4f} between any two images"
    if apart < COLLAPSED:
        return (
            f"{said}: the embedding has collapsed to one point; start from a softmax model (--pretrained), lower --lr"
        )
    if config.max_ap > 0 and same > config.max_ap:
        return f"{said}: pairs above triplet_max_ap {config.max_ap:g} are left out; raise it, or set it to 0"
    return (
        f"{said}: raise triplet_alpha ({config.alpha:g}) or triplet_bag_size; where strangers are farther than "
        "that from every pair, the triplets are learned"
    )


def _philox(seed: int, number: int, stream: int) -> np.random.Philox:
    """The generator keyed by these; the upper half of keys, as the lower one is the loader's (`loaders.epoch`)."""
    return np.random.Philox(key=np.array([seed % 2**64, 2**63 + 4 * number + stream], dtype=np.uint64))
