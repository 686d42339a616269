"""Training data of the triplet losses: rounds of triplets, each mined with the network as it is when the round begins.

A round stands for an epoch. The mined order of images belongs to the training state: a resumed run goes on inside it.
Every rank decodes and embeds its share of a bag, the main one chooses, and all are told; of each batch a rank trains on
its own rows, which are whole triplets.
Source: spec data §6.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mxface.errors import ConfigError
from mxface.loaders import Batch, RecordDataset, TrainLoader
from mxface.losses.triplet_mining import (
    BATCHES_PER_ROUND,
    Ints,
    MiningConfig,
    TripletBags,
    batch_slices,
    mine,
    triplets_of_slices,
)
from mxface.ranks import Ranks
from mxface.train.learner import Trainee

SINGLE = Ranks.single()


class TripletRounds:
    """What `fit` reads instead of a `TrainLoader`, its epochs being rounds.

    `loader` and `plain` give this rank's rows of batches, augmented to be trained on and as they are to be mined from.
    """

    def __init__(
        self,
        loader: TrainLoader,
        plain: TrainLoader,
        learner: Trainee,
        bags: TripletBags,
        config: MiningConfig,
        *,
        say: Callable[[str], object],
        ranks: Ranks = SINGLE,
    ) -> None:
        self.dataset: RecordDataset = loader.dataset
        self._loader = loader
        self._plain = plain
        self._learner = learner
        self._bags = bags
        self._config = config
        self._say = say
        self._ranks = ranks
        if config.batch_size > bags.bag_size:
            raise ConfigError(
                f"a batch of {config.batch_size} images is more than the bag of {bags.bag_size} that its triplets are "
                "looked for in: raise triplet_bag_size"
            )
        # of fixed size, so that the state of one round can be read into another's
        self._mined = torch.zeros(largest_round(bags), dtype=torch.int64)
        self._length = torch.zeros((), dtype=torch.int64)
        self._slice = torch.tensor(config.per_batch_size)  # images in each slice of the mined order
        self._next_bag = torch.zeros((), dtype=torch.int64)

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        """This rank's rows of the batches of a round, from position `start_image` of the mined order on.

        A round that is entered at its beginning is mined first.
        """
        if start_image == 0:
            self._mine()
        elif int(self._slice) != self._config.per_batch_size:
            self._cut_anew(start_image)
        return self._loader.in_order(self._mined[: int(self._length)].numpy(), epoch, start_image)

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs, to be filled in place: the mined order, and the bag to go on with."""
        return {
            "triplets/mined": self._mined,
            "triplets/length": self._length,
            "triplets/slice": self._slice,
            "triplets/next_bag": self._next_bag,
        }

    def close(self) -> None:
        self._loader.close()
        self._plain.close()

    def _mine(self) -> None:
        self._learner.average_statistics()  # all ranks must see the same embeddings
        started = time.perf_counter()
        first_bag = int(self._next_bag)
        self._say(f"eval {self._bags.bag_size} images.. {first_bag % self._bags.bags_per_pass * self._bags.bag_size}")
        mined = mine(self._bags, self._embed, self._config, first_bag=first_bag, ranks=self._ranks)
        self._say(f"found triplets {mined.triplets}")
        self._say(f"seq len {len(mined.order)}")
        self._say(f"triplet time stat [{time.perf_counter() - started:.3f}]")
        self._mined[: len(mined.order)] = torch.from_numpy(mined.order)
        self._length.fill_(len(mined.order))
        self._slice.fill_(self._config.per_batch_size)
        self._next_bag.fill_(mined.next_bag)

    def _cut_anew(self, start: int) -> None:
        """Put the triplets from position `start` on into slices of this run's size: the state had another one."""
        rest = triplets_of_slices(self._mined[start : int(self._length)].numpy(), int(self._slice))
        slices = [torch.from_numpy(part) for part in batch_slices(rest, self._config.per_batch_size)]
        rows = torch.cat(slices) if slices else self._mined[:0]
        self._mined[start : start + len(rows)] = rows
        self._length.fill_(start + len(rows))
        self._slice.fill_(self._config.per_batch_size)

    def _embed(self, positions: Ints) -> Tensor:
        """Raw embeddings (n, D) of the images as they are; rows of damaged ones are not numbers, so never chosen.

        Each rank computes its rows of each batch.
        """
        size = self._plain.batch_size
        padded = np.resize(positions, -(-len(positions) // size) * size)
        batches = tqdm(
            self._plain.in_order(padded, 0),
            total=len(padded) // size,
            desc="mine",
            unit="batch",
            leave=False,
            disable=None if self._ranks.is_main else True,  # one bar, not one a rank
        )
        with self._ranks.at_work():
            own = np.stack([self._learner.embed(batch.data) for batch in batches])  # type: ignore[arg-type]
        of_ranks = self._ranks.gather_rows(torch.from_numpy(own)).view(self._ranks.count, *own.shape)
        rows = of_ranks.transpose(0, 1).reshape(-1, own.shape[-1])[: len(positions)]  # the batches, in each the ranks'
        self._plain.count_together(self._ranks.gather(self._plain.damaged))
        rows[torch.from_numpy(np.isin(positions, list(self._plain.damaged)))] = torch.nan
        return rows.to(self._learner.device)


def largest_round(bags: TripletBags) -> int:
    """Images that a round can have at most: nearly enough, and one more bag whose every pair finds a triplet."""
    pairs = bags.bag_size * (bags.images_per_identity - 1) // 2
    return BATCHES_PER_ROUND * bags.bag_size + 3 * pairs
