"""Verification pictures that are training pictures, too: accuracy on them says nothing about people never seen.

A picture is found again where it looks the same, whatever its JPEG compression: 16x16 grey thumbnails, less their mean,
correlate above SAME_PICTURE. On LFW another compression or size leaves 0.9997 of 1, photographs of different people
reach 0.973, different ones of a person 0.99 (docs/LOG.md). People who are in both sets with different pictures are not
found: no network is asked. But who is found by one picture is known in the others, too, as far as the set's pairs of
one person tell which these are.

Of a large training set an even sample is looked at, so a find is a share, not a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mxface.errors import DataError, FormatError
from mxface.eval.protocol import PairSet
from mxface.loaders import RecordDataset
from mxface.loaders.decode import decode_image
from mxface.loaders.ordered_map import ordered_map

SIDE = 16
SAME_PICTURE = 0.995
LOOKED_AT = 20_000
"""Training pictures; so many take four seconds of one core."""
CHUNK = 2000
NO_TWIN = -1

Thumbnails = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Of a verification set: how many of its `pictures` were `found` among `looked_at` of `training` pictures, the
    `labels` of those, ascending, and the number of one of them (of the first label), `example`. Of its `pairs` so many
    are `known`: they show somebody who was found."""

    name: str
    pictures: int
    found: int
    pairs: int
    known: int
    labels: tuple[int, ...]
    looked_at: int
    training: int
    example: int


def thumbnails(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Thumbnails:
    """(N, 256): grey 16x16 thumbnails of RGB pictures, less their mean, of length 1."""
    rows = np.empty((len(images), SIDE * SIDE), np.float32)
    for row, image in zip(rows, images, strict=True):
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        row[:] = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return rows


def find_overlaps(
    dataset: RecordDataset, pair_sets: Sequence[PairSet], pictures: Mapping[str, Thumbnails], *, threads: int = 1
) -> list[Overlap]:
    """The verification sets that share pictures with the training set.

    `pictures` are the thumbnails of each set's: of all, where a rank has but a share of the pictures.
    """
    if not pair_sets:
        return []
    numbers, labels, training = sample_thumbnails(dataset, threads)
    if not len(numbers):
        return []  # not one of them can be read: the loader will say so
    overlaps = []
    for pairs in pair_sets:
        twins = find_twins(pictures[pairs.name], training)
        found = twins != NO_TWIN
        if not found.any():
            continue
        people = labels[twins[found]]
        overlaps.append(
            Overlap(
                name=pairs.name,
                pictures=len(twins),
                found=int(found.sum()),
                pairs=len(pairs.issame),
                known=int(known_pairs(pairs, found).sum()),
                labels=tuple(np.unique(people).tolist()),
                looked_at=len(numbers),
                training=dataset.num_images,
                example=int(numbers[twins[found][people.argmin()]]),
            )
        )
    return overlaps


def find_twins(rows: Thumbnails, training: Thumbnails) -> NDArray[np.int64]:
    """(U,): for each of `rows` (U, 256) the most alike of `training` (T, 256), NO_TWIN where none is the same."""
    twins = np.full(len(rows), NO_TWIN, np.int64)
    for start in range(0, len(rows), CHUNK):
        alike = rows[start : start + CHUNK] @ training.T
        best = alike.argmax(axis=1)
        same = alike[np.arange(len(best)), best] > SAME_PICTURE
        twins[start : start + CHUNK][same] = best[same]
    return twins


def known_pairs(pairs: PairSet, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(P,): which pairs show a person of whom a picture was `found` (U,); pairs of one person join pictures."""
    of_pair = pairs.items.reshape(-1, 2)
    joined = of_pair[pairs.issame]
    known, count = found.copy(), 0
    while count < known.sum():
        count = known.sum()
        known[joined[known[joined].any(axis=1)]] = True
    shown: NDArray[np.bool_] = known[of_pair].any(axis=1)
    return shown


def sample_thumbnails(dataset: RecordDataset, threads: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Thumbnails]:
    """Numbers, labels and thumbnails of an even sample of the sound training pictures."""
    step = max(1, -(-dataset.num_images // LOOKED_AT))

    def look(number: int) -> tuple[int, int, Thumbnails] | None:
        try:
            label, encoded = dataset.read(number)
            return number, label, thumbnails([decode_image(encoded)])[0]
        except (DataError, FormatError):
            return None  # the loader will say so

    wanted = range(0, dataset.num_images, step)
    sound = [seen for seen in ordered_map(look, wanted, threads=threads, window=8 * threads) if seen is not None]
    numbers = np.array([number for number, _, _ in sound], np.int64)
    labels = np.array([label for _, label, _ in sound], np.int64)
    rows = np.stack([row for _, _, row in sound]) if sound else np.empty((0, SIDE * SIDE), np.float32)
    return numbers, labels, rows
