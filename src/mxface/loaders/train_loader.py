"""Batches for training, decoded and augmented by threads or processes, the same whatever their and the ranks' number.

An epoch is the images in the order of `epoch_order(seed, epoch)`, cut into batches; what is left over at its end is
dropped, as in 2019. The image at a position of the epoch, with its augmentation, depends on nothing but the data, the
seed, the epoch and the position, so an epoch can be entered at any image, by any number of ranks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mxface.errors import ConfigError, DataError
from mxface.loaders.augment import Augmentation
from mxface.loaders.batch import Batch, BatchMaker, Damage, Filled
from mxface.loaders.encoded_images import WAY_OUT
from mxface.loaders.epoch import epoch_order
from mxface.loaders.ordered_map import ordered_map
from mxface.loaders.record_dataset import RecordDataset
from mxface.loaders.worker_pool import WorkerPool

logger = logging.getLogger(__name__)

DAMAGED_LIMIT = 0.001
LOGGED_DAMAGES = 100
NAMED_DAMAGES = 10


class TrainLoader:
    """Epochs of batches from a `RecordDataset`.

    batch_size: images in a batch of all ranks together; rank r of `num_ranks` loads the rows [r*b, (r+1)*b) of every
    batch, b = batch_size / num_ranks = `rank_batch_size`. image_shape: (H, W, 3); an image of another height is scaled,
    bicubic, by its shorter side. rand_mirror, cutoff, cutoff_share, color: see `Augmentation`. threads: how many decode
    at a time; one batch a thread is made ahead. workers: processes that decode instead of the threads, 0 for none; two
    batches a worker are made ahead. They start with the first epoch and end with `close`.

    A record that cannot be read or decoded is logged and counted; the next good image of the epoch's order takes its
    place in the batch. When more than `damaged_limit` (a share) of all images are damaged, DataError says how many. A
    rank counts what it has met itself, against the share of all images, so no rank stops where one rank would go on.
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
        cutoff_share: float = 0.5,
        color: int = 0,
        threads: int = 2,
        workers: int = 0,
        damaged_limit: float = DAMAGED_LIMIT,
    ) -> None:
        if batch_size < 1 or threads < 1:
            raise ConfigError(f"batch size {batch_size}, {threads} threads: both must be at least 1")
        if workers < 0:
            raise ConfigError(f"{workers} workers: must be the number of processes, or 0 for threads")
        if not 0 <= damaged_limit <= 1:
            raise ConfigError(f"damaged limit {damaged_limit}: must be a share of the images, 0 to 1")
        if batch_size % num_ranks:
            raise ConfigError(f"batch size {batch_size} over {num_ranks} ranks: must be a multiple of their number")
        if image_shape[2] != 3:
            raise ConfigError(f"image shape {image_shape}: must be (height, width, 3)")
        self.dataset = dataset
        self.batch_size = batch_size
        self.rank_batch_size = batch_size // num_ranks
        self.rank = rank
        self.seed = seed
        self.threads = threads
        self.workers = workers
        self.damaged_limit = damaged_limit
        self.damaged: dict[int, str] = {}
        self._pool: WorkerPool | None = None
        self._maker = BatchMaker(
            images=dataset.images,
            image_shape=image_shape,
            augmentation=Augmentation(
                rand_mirror=bool(rand_mirror), color=int(color), cutoff=int(cutoff), cutoff_share=cutoff_share
            ),
            seed=seed,
            max_damaged=int(damaged_limit * dataset.num_images),
        )
        if self.batches_per_epoch == 0:
            raise ConfigError(
                f"batch size {batch_size} is more than the {dataset.num_images} images of {dataset.path}; "
                "choose a smaller --per-batch-size"
            )

    @property
    def batches_per_epoch(self) -> int:
        return self.dataset.num_images // self.batch_size

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        """This rank's rows of the batches of an epoch, from the image at position `start_image` of its order on."""
        return self.in_order(epoch_order(self.seed, epoch, self.dataset.num_images), epoch, start_image)

    def in_order(self, order: npt.NDArray[np.int64], epoch: int, start_image: int = 0) -> Iterator[Batch]:
        """The same for an order of one's own, (K,) numbers of images: mined triplets, say."""
        batches = range(start_image, len(order) - self.batch_size + 1, self.batch_size)
        starts = [batch + self.rank * self.rank_batch_size for batch in batches]
        by = self._by_processes if self.workers else self._by_threads
        for batch, filled in by(order, epoch, starts):
            self._note(filled)
            yield batch

    def count_together(self, damaged: Sequence[Mapping[int, str]]) -> None:
        """Count what every rank has met (`damaged` of each, in the order of ranks), and stop at too much of it."""
        together: dict[int, str] = {}
        for met in damaged:
            together |= met
        self.damaged = together
        self._require_few_damaged()

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _by_processes(
        self, order: npt.NDArray[np.int64], epoch: int, starts: list[int]
    ) -> Iterator[tuple[Batch, Filled]]:
        if self._pool is None or len(order) > self._pool.max_order:
            self.close()
            max_order = max(len(order), self.dataset.num_images)
            self._pool = WorkerPool(self._maker, self.rank_batch_size, self.workers, max_order=max_order)
        return self._pool.batches(order, epoch, starts)

    def _by_threads(
        self, order: npt.NDArray[np.int64], epoch: int, starts: list[int]
    ) -> Iterator[tuple[Batch, Filled]]:
        def make(start: int) -> tuple[Batch, Filled]:
            batch = self._maker.empty(self.rank_batch_size)
            return batch, self._maker.fill(batch, order, epoch, start)

        return ordered_map(make, starts, threads=self.threads, window=self.threads + 1)

    def _note(self, filled: Filled) -> None:
        """Log the damage that was not yet known, and stop at too much of it."""
        for number, reason in filled.damages:
            if number not in self.damaged:
                self.damaged[number] = reason
                self._log(Damage(number, reason))
        self._require_few_damaged(complete=filled.complete)

    def _require_few_damaged(self, *, complete: bool = True) -> None:
        if len(self.damaged) > self._maker.max_damaged or not complete:
            raise self._too_many_damaged()

    def _log(self, damage: Damage) -> None:
        if len(self.damaged) <= LOGGED_DAMAGES:
            name = self.dataset.name(damage.number)
            logger.warning("%s: %s is damaged and skipped: %s", self.dataset.path, name, damage.reason)
        if len(self.damaged) == LOGGED_DAMAGES:
            logger.warning("%s: further damaged images are counted, and not named here", self.dataset.path)

    def _too_many_damaged(self) -> DataError:
        names = ", ".join(self.dataset.name(number) for number in list(self.damaged)[:NAMED_DAMAGES])
        more = ", …" if len(self.damaged) > NAMED_DAMAGES else ""
        limit = f"more than the {self._maker.max_damaged} put up with (--max-damaged {self.damaged_limit:g})"
        if len(self.damaged) <= self._maker.max_damaged:
            limit = "and no good one is left"
        return DataError(
            f"{self.dataset.path}: {len(self.damaged)} of {self.dataset.num_images} images are damaged, {limit}: "
            f"{names}{more}; the last one: {next(reversed(self.damaged.values()))}; {WAY_OUT}"
        )
