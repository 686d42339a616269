"""Batches for training, decoded and augmented by threads, the same whatever the number of threads and of ranks.

An epoch is the images in the order of `epoch_order(seed, epoch)`, cut into batches; what is left over at its end is
dropped, as in 2019. The image at a position of the epoch, with its augmentation, depends on nothing but the data, the
seed, the epoch and the position, so an epoch can be entered at any image, by any number of ranks.
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

    batch_size: images in a batch of all ranks together; rank r of `num_ranks` loads the rows [r*b, (r+1)*b) of every
    batch, b = batch_size / num_ranks = `rank_batch_size`. image_shape: (H, W, 3); an image of another height is scaled,
    bicubic, by its shorter side. rand_mirror, cutoff, color: see `Augmentation`. threads: how many decode at a time;
    one batch a thread is made ahead.

    A record that cannot be read or decoded is logged and counted; the next good image of the epoch's order takes its
    place in the batch. When more than `damaged_limit` (a share) of all images are damaged, DataError says how many.
    """

    def __init__(
        self,
        dataset: RecordDataset,
        *,
        batch_size: int,
        image_shape: tuple[int, int, int] = (112, 112, 3),
        rank: int = 0,
        num_ranks: int = 1,
        seed: int = 0,
        rand_mirror: bool = True,
        cutoff: int = 0,
        color: int = 0,
        threads: int = 2,
        damaged_limit: float = DAMAGED_LIMIT,
    ) -> None:
        if batch_size < 1 or threads < 1:
            raise ConfigError(f"batch size {batch_size}, {threads} threads: both must be at least 1")
        if batch_size % num_ranks:
            raise ConfigError(f"batch size {batch_size} over {num_ranks} ranks: must be a multiple of their number")
        if image_shape[2] != 3:
            raise ConfigError(f"image shape {image_shape}: must be (height, width, 3)")
        self.dataset = dataset
        self.batch_size = batch_size
        self.rank_batch_size = batch_size // num_ranks
        self.rank = rank
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

    def epoch(self, epoch: int, start_image: int = 0, *, start: int = 0) -> Iterator[Batch]:
        """This rank's rows of the batches of an epoch, from the image at position `start_image` of its order on."""
        order = epoch_order(self.seed, epoch, self.dataset.num_images)

        def load(position: int) -> tuple[Batch, list[Damage]]:
            return self._load_rows(order, epoch, position + self.rank * self.rank_batch_size)

        start_image += start * self.batch_size  # `start`: the training loop of before, until it counts in images
        positions = range(start_image, self.dataset.num_images - self.batch_size + 1, self.batch_size)
        for batch, damages in ordered_map(load, positions, threads=self.threads, window=self.threads + 1):
            self._note_damages(damages)
            yield batch

    def _load_rows(self, order: npt.NDArray[np.int64], epoch: int, start: int) -> tuple[Batch, list[Damage]]:
        """The images at the positions from `start` on, as many as this rank has of a batch."""
        count = self.rank_batch_size
        data = self.augmentation.empty((count, *self.image_shape))
        label = np.empty(count, np.int64)
        index = np.empty(count, np.int64)
        damages: list[Damage] = []
        for row, draws in enumerate(position_draws(self.seed, epoch, start, count)):
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
