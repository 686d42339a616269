"""Batches for training, decoded and augmented by threads, the same whatever the number of threads.

An epoch is `batches_per_epoch` batches in the order of `epoch_order(seed, epoch)`; what is left over is dropped, as in
2019. A batch depends on nothing but the data, the seed, the epoch and its number, so an epoch can be entered anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mxface.errors import ConfigError, DataError, FormatError
from mxface.loaders.augment import Augmentation
from mxface.loaders.decode import Image, decode_image, resize_short
from mxface.loaders.epoch import epoch_order, position_draws
from mxface.loaders.ordered_map import ordered_map
from mxface.loaders.record_dataset import WAY_OUT, RecordDataset

logger = logging.getLogger(__name__)

DAMAGED_LIMIT = 0.001


@dataclass(frozen=True)
class Batch:
    """B images: `data` (B, H, W, 3) RGB 0..255, uint8 or, after colour jitter, float32; `label` and `index` (B,) int64.

    `index` counts in the data set's images: `dataset.keys[index]` are the keys of the records.
    """

    data: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]


class Damage(NamedTuple):
    """A record that gave no image."""

    number: int
    reason: str


class TrainLoader:
    """Epochs of batches from a `RecordDataset`.

    batch_size: images in a batch. image_shape: (H, W, 3); an image of another height is scaled, bicubic, by its shorter
    side. rand_mirror, cutoff, color: see `Augmentation`. threads: how many decode at a time; one batch a thread is made
    ahead.

    A record that cannot be read or decoded is logged and counted; the next good image of the epoch's order takes its
    place in the batch. When more than `damaged_limit` (a share) of all images are damaged, DataError says how many.
    """

    def __init__(
        self,
        dataset: RecordDataset,
        *,
        batch_size: int,
        image_shape: tuple[int, int, int] = (112, 112, 3),
        seed: int = 0,
        rand_mirror: bool = True,
        cutoff: int = 0,
        color: int = 0,
        threads: int = 2,
        damaged_limit: float = DAMAGED_LIMIT,
    ) -> None:
        if batch_size < 1 or threads < 1:
            raise ConfigError(f"batch size {batch_size}, {threads} threads: both must be at least 1")
        if image_shape[2] != 3:
            raise ConfigError(f"image shape {image_shape}: must be (height, width, 3)")
        self.dataset = dataset
        self.batch_size = batch_size
        self.image_shape = image_shape
        self.seed = seed
        self.augmentation = Augmentation(rand_mirror=bool(rand_mirror), color=int(color), cutoff=int(cutoff))
        self.threads = threads
        self.max_damaged = int(damaged_limit * dataset.num_images)
        self.damaged: dict[int, str] = {}
        if self.batches_per_epoch == 0:
            raise ConfigError(f"batch size {batch_size} is more than the {dataset.num_images} images of {dataset.path}")

    @property
    def batches_per_epoch(self) -> int:
        return self.dataset.num_images // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on."""
        order = epoch_order(self.seed, epoch, self.dataset.num_images)

        def load(number: int) -> tuple[Batch, list[Damage]]:
            return self._load_batch(order, epoch, number)

        numbers = range(start, self.batches_per_epoch)
        for batch, damages in ordered_map(load, numbers, threads=self.threads, window=self.threads + 1):
            self._note_damages(damages)
            yield batch

    def _load_batch(self, order: npt.NDArray[np.int64], epoch: int, number: int) -> tuple[Batch, list[Damage]]:
        start = number * self.batch_size
        data = self.augmentation.empty((self.batch_size, *self.image_shape))
        label = np.empty(self.batch_size, np.int64)
        index = np.empty(self.batch_size, np.int64)
        damages: list[Damage] = []
        for row, draws in enumerate(position_draws(self.seed, epoch, start, self.batch_size)):
            index[row], label[row], image = self._load_good(order, start + row, damages)
            data[row] = self.augmentation.apply(image, draws)
        return Batch(data, label, index), damages

    def _load_good(self, order: npt.NDArray[np.int64], position: int, damages: list[Damage]) -> tuple[int, int, Image]:
        """Number, label and pixels of the first good image from `position` on; adds the bad ones to `damages`."""
        for step in range(len(order)):
            number = int(order[(position + step) % len(order)])
            try:
                label, encoded = self.dataset.read(number)
                return number, label, self._fit(decode_image(encoded))
            except (FormatError, DataError) as error:
                damages.append(Damage(number, str(error)))
                if step >= self.max_damaged:
                    break
        raise self._too_many_damaged(damages)

    def _fit(self, image: Image) -> Image:
        """The image, scaled to the wanted height where it has another."""
        height, width, _ = self.image_shape
        if len(image) != height:
            image = resize_short(image, height)
        if image.shape != self.image_shape:
            raise DataError(f"an image of {image.shape[1]}x{image.shape[0]} where {width}x{height} is wanted")
        return image

    def _note_damages(self, damages: list[Damage]) -> None:
        """Log what was not yet known, and stop at too much of it."""
        for number, reason in damages:
            if number not in self.damaged:
                self.damaged[number] = reason
                key = self.dataset.keys[number]
                logger.warning("%s: key %d is damaged and skipped: %s", self.dataset.path, key, reason)
        if len(self.damaged) > self.max_damaged:
            raise self._too_many_damaged([])

    def _too_many_damaged(self, damages: list[Damage]) -> DataError:
        numbers = {*self.damaged, *(damage.number for damage in damages)}
        reason = damages[-1].reason if damages else next(reversed(self.damaged.values()))
        return DataError(
            f"{self.dataset.path}: {len(numbers)} of {self.dataset.num_images} images are damaged, more than the "
            f"{self.max_damaged} put up with; the last one: {reason}; {WAY_OUT}"
        )
