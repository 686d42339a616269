"""Images at consecutive positions of an epoch as arrays: read, decoded, scaled, augmented, around damaged records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mxface.errors import DataError, FormatError
from mxface.loaders.augment import Augmentation
from mxface.loaders.decode import Image, decode_image, resize_short
from mxface.loaders.encoded_images import EncodedImages
from mxface.loaders.epoch import position_draws

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """B images: `data` (B, H, W, 3) RGB 0..255, uint8 or, after colour jitter, float32; `label` and `index` (B,) int64.

    `index` counts in the data set's images: `dataset.keys[index]` are the keys of the records.
    """

    data: Pixels
    label: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]

    def copy(self) -> Batch:
        return Batch(self.data.copy(), self.label.copy(), self.index.copy())


class Damage(NamedTuple):
    """A record that gave no image."""

    number: int
    reason: str


class Filled(NamedTuple):
    """How a batch went: the records passed over; not `complete` where more were bad in a row than are put up with."""

    damages: list[Damage]
    complete: bool


@dataclass(frozen=True, kw_only=True)
class BatchMaker:
    """Everything but the place in the epoch that a batch depends on. Safe to share between threads.

    image_shape: (H, W, 3). max_damaged: how many damaged images are put up with.
    """

    images: EncodedImages
    image_shape: tuple[int, int, int]
    augmentation: Augmentation
    seed: int
    max_damaged: int

    def empty(self, count: int) -> Batch:
        """A batch of `count` to be filled."""
        data = self.augmentation.empty((count, *self.image_shape))
        return Batch(data, np.empty(count, np.int64), np.empty(count, np.int64))

    def fill(self, batch: Batch, order: npt.NDArray[np.int64], epoch: int, start: int) -> Filled:
        """Put the images from position `start` of the epoch's `order` on into `batch`.

        Where a record is damaged, the next good image of the order takes its place. Raises DataError where the file as
        a whole cannot be read any more.
        """
        damages: list[Damage] = []
        for row, draws in enumerate(position_draws(self.seed, epoch, start, len(batch.data))):
            found = self._find_good(order, start + row, damages)
            if found is None:
                return Filled(damages, complete=False)
            batch.index[row], batch.label[row], image = found
            batch.data[row] = self.augmentation.apply(image, draws)
        return Filled(damages, complete=True)

    def _find_good(
        self, order: npt.NDArray[np.int64], position: int, damages: list[Damage]
    ) -> tuple[int, int, Image] | None:
        """Number, label and pixels of the first good image from `position` on; adds the bad ones to `damages`."""
        for step in range(min(len(order), self.max_damaged + 1)):
            number = int(order[(position + step) % len(order)])
            try:
                label, encoded = self.images.read(number)
            except FormatError as error:
                damages.append(Damage(number, str(error)))
                continue
            try:
                return number, label, self._fit(decode_image(encoded))
            except DataError as error:
                damages.append(Damage(number, str(error)))
        return None

    def _fit(self, image: Image) -> Image:
        """The image, scaled to the wanted height where it has another."""
        height, width, _ = self.image_shape
        if len(image) != height:
            image = resize_short(image, height)
        if image.shape != self.image_shape:
            raise DataError(f"an image of {image.shape[1]}x{image.shape[0]} where {width}x{height} is wanted")
        return image
