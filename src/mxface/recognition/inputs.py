"""What a run trains on and is verified on: the records, triplets of them, the pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mxface.cpus import usable_cpus
from mxface.errors import ConfigError, DataError
from mxface.eval.protocol import NUM_FOLDS, PairSet, load_pair_set
from mxface.formats.dataset_property import read_property
from mxface.loaders import RecordDataset, TrainLoader
from mxface.losses.triplet_mining import MiningConfig, TripletBags
from mxface.recognition.config import DataConfig, LossConfig, RunConfig
from mxface.recognition.session import Session
from mxface.train.checkpoint import ALWAYS, NEVER
from mxface.train.learner import Trainee
from mxface.train.loop import Batches
from mxface.train.triplet_rounds import TripletRounds

log = logging.getLogger(__name__)


def find_num_classes(data: DataConfig, *, say: Callable[..., object] = print) -> int:
    """The number in the data set's `property`; the config's where there is no such file."""
    path = data.dataset_path / "property"
    if path.is_file():
        found = read_property(path).num_classes
        if data.num_classes not in (None, found):
            say(f"num_classes: {found} by {path}, not the config's {data.num_classes}")
        return found
    if data.num_classes is None:
        raise ConfigError(f"num_classes is not set, and there is no {path}; set it in the config's dataset entry")
    return data.num_classes


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The data of a run, as a rank has them. `place` are the tensors that belong to the place in `batches`."""

    num_classes: int
    batches: Batches
    place: Mapping[str, Tensor]
    pair_sets: Sequence[PairSet]

    @property
    def dataset(self) -> RecordDataset:
        """The records that `batches` are made of."""
        return self.batches.dataset


def open_inputs(run: RunConfig, num_classes: int, learner: Trainee, session: Session) -> Inputs:
    """The data of the run, with 2019's lines about them; `learner` is who mines triplets. Their `batches` want closing.

    Ranks wait for one another here, however slow a disk.
    """
    with session.ranks.at_work():
        batches, place = build_batches(run, learner, session)
        pair_sets = load_pair_sets(run.data, session)
    warn_if_nothing_is_saved(run, pair_sets)
    return Inputs(num_classes=num_classes, batches=batches, place=place, pair_sets=pair_sets)


def build_batches(run: RunConfig, learner: Trainee, session: Session) -> tuple[Batches, dict[str, Tensor]]:
    """What is trained on, and the tensors that belong to the place in it."""
    loader = build_loader(run, session)
    if not run.loss.is_triplet:
        return loader, {}
    rounds = build_rounds(run, loader, learner, session)
    return rounds, rounds.tensors()


def build_rounds(run: RunConfig, loader: TrainLoader, learner: Trainee, session: Session) -> TripletRounds:
    """Rounds of triplets, mined by `learner` from the images that `loader` has."""
    loss, dataset, size = run.loss, loader.dataset, run.train.batch_size
    bags = build_bags(dataset, loss, seed=run.train.seed)
    session.say("images_per_identity", loss.images_per_identity)
    session.say(len(dataset.images_per_identity()))
    session.say("triplet_seq", bags.images_per_pass)
    mining = MiningConfig(
        alpha=loss.triplet_alpha,
        max_ap=loss.triplet_max_ap,
        batch_size=size,
        per_batch_size=size // (len(session.contexts) or session.ranks.count),
        seed=run.train.seed,
    )
    height, width, channels = run.data.image_shape
    plain = TrainLoader(
        dataset,
        batch_size=size,
        image_shape=(height, width, channels),
        seed=run.train.seed,
        rand_mirror=False,
        rank=session.ranks.rank,
        num_ranks=session.ranks.count,
        threads=loader.threads,
        damaged_limit=run.max_damaged,
    )
    return TripletRounds(loader, plain, learner, bags, mining, say=session.say, ranks=session.ranks)


def build_bags(dataset: RecordDataset, loss: LossConfig, *, seed: int) -> TripletBags:
    """Bags of `triplet_bag_size` images, or of all that a pass over a small data set has."""
    in_a_pass = int(np.minimum(dataset.images_per_identity(), loss.images_per_identity).sum())
    size = loss.triplet_bag_size
    if size > in_a_pass > 0:
        log.warning(
            "triplet_bag_size %d is more than the %d images of one pass over the people: bags of %d",
            size,
            in_a_pass,
            in_a_pass,
        )
        size = in_a_pass
    return TripletBags(dataset.labels, images_per_identity=loss.images_per_identity, bag_size=size, seed=seed)


def build_loader(run: RunConfig, session: Session) -> TrainLoader:
    """This rank's rows of the batches of `train.rec`, with 2019's lines about it."""
    data = run.data
    path = data.dataset_path / "train.rec"
    if not path.is_file():
        raise DataError(f"{path}: no such file; pack the images with src/data/face2rec2.py, or change dataset_path")
    dataset = RecordDataset(path, images_filter=data.data_images_filter)
    for line in dataset.describe():
        session.say(line)
    session.say("rand_mirror", data.data_rand_mirror)
    height, width, channels = data.image_shape
    return TrainLoader(
        dataset,
        batch_size=run.train.batch_size,
        image_shape=(height, width, channels),
        seed=run.train.seed,
        rand_mirror=data.data_rand_mirror,
        cutoff=data.data_cutoff,
        cutoff_share=1.0 if run.loss.is_triplet else 0.5,  # 2019's iterators differed in this
        color=0 if run.loss.is_triplet else data.data_color,
        rank=session.ranks.rank,
        num_ranks=session.ranks.count,
        threads=run.threads or max(1, usable_cpus() // session.place.local_count),
        workers=run.workers,
        damaged_limit=run.max_damaged,
    )


def load_pair_sets(data: DataConfig, session: Session) -> list[PairSet]:
    """The validation sets that lie beside the records, this rank's share of their pictures.

    As in 2019, others are passed over.
    """
    height, width, _ = data.image_shape
    pair_sets = []
    for name in data.val_targets:
        path = data.dataset_path / f"{name}.bin"
        if path.is_file():
            pairs = load_pair_set(path, (height, width), say=session.say, share=session.ranks.share)
            if len(pairs.issame) < NUM_FOLDS:  # said now, not after --verbose batches
                raise DataError(
                    f"{path}: {len(pairs.issame)} pairs cannot be split into {NUM_FOLDS} folds; pack more of them, or "
                    f"leave {name} out of val_targets (--target)"
                )
            pair_sets.append(pairs)
            session.say("ver", name)
    return pair_sets


def warn_if_nothing_is_saved(run: RunConfig, pair_sets: Sequence[PairSet]) -> None:
    """Say before the first batch, rather than never, that no model file will come of this run."""
    if not pair_sets and run.train.ckpt not in (NEVER, ALWAYS):
        names = ", ".join(f"{name}.bin" for name in run.data.val_targets)
        log.warning(
            "none of %s in %s: --ckpt %d saves no model; 2 saves always", names, run.data.dataset_path, run.train.ckpt
        )
    if 0 < run.train.max_steps < run.train.verbose - 1:
        log.warning("--verbose %d is beyond max_steps %d: no model is saved", run.train.verbose, run.train.max_steps)
