"""What is said before the first batch: what a run will need and do, and what about it cannot work.

`Preflight` holds figures; `lines` puts them into a table of at most 100 columns, `warnings` into sentences. Two things
stop a run before it starts: labels that no class belongs to, and a BatchNorm of single values.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mxface.errors import ConfigError, DataError
from mxface.graph import Symbol
from mxface.graph.flops import flops_text
from mxface.loaders import RecordDataset
from mxface.train.config import TrainConfig
from mxface.train.memory import MemoryForecast
from mxface.train.overlap import SIDE, Overlap
from mxface.train.schedule import StepSchedule

REFERENCE_BATCH = 512
"""Of 2019's recipes: 8 GPUs with 64 or 4 with 128 images; a rate is compared at it, by the linear rule."""
USUAL_RATE, MANY_TIMES = 0.1, 20
"""2019's rate for so many images, and what is said to be far above it. The small recipe of sample_config.py has 17."""
FEW_FOR_BATCHNORM = 8
MANY_CLASSES = 1.1
"""So many times more classes than identities is said."""
NAMED_LABELS = 10
GIGABYTE = 1e9
LINE_WIDTH, NAME_WIDTH = 100, 13


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Of a training set: images, and the smallest, the median and the largest number of images an identity has."""

    images: int
    identities: int
    least: int
    median: int
    most: int
    single: int

    @classmethod
    def of(cls, dataset: RecordDataset) -> Identities:
        """Those that have images."""
        counts = dataset.images_per_identity()
        counts = counts[counts > 0]
        return cls(
            images=dataset.num_images,
            identities=len(counts),
            least=int(counts.min()),
            median=int(np.median(counts)),
            most=int(counts.max()),
            single=int((counts == 1).sum()),
        )


class FirstLoss(NamedTuple):
    """Of the first batch: the mean and the standard deviation. `grown` is the mean with the whole margin."""

    mean: float
    spread: float
    grown: float


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """Everything known before the first batch; in place of what cannot be foretold a text that says why."""

    config: TrainConfig
    device: str
    ranks: int
    num_classes: int
    has_batchnorm: bool
    parameters: int
    flops: int
    identities: Identities
    memory: MemoryForecast | str
    first_loss: FirstLoss | str
    overlaps: Sequence[Overlap]
    is_mined: bool = False  # triplets, whose epochs are as long as what is found

    @property
    def rank_batch_size(self) -> int:
        return self.config.batch_size // self.ranks

    @property
    def steps_per_epoch(self) -> int:
        return self.identities.images // self.config.batch_size

    def lines(self) -> list[str]:
        """The table."""
        batches = f"{self.ranks} rank(s) of {self.rank_batch_size} images: batches of {self.config.batch_size}"
        rows = [
            ("device", f"{self.device}, {batches}"),
            ("network", f"{self.parameters / 1e6:.1f}M parameters, {flops_text(self.flops)} FLOPs an image"),
            ("memory", self._memory_text()),
            ("images", self._identities_text()),
            ("rate", self._rate_text()),
            ("epochs", self._epochs_text()),
            ("first loss", self._first_loss_text()),
        ]
        return ["pre-flight", *(line for name, text in rows for line in wrapped(name, text))]

    def warnings(self) -> list[str]:
        """What will not work, or not as it may be meant."""
        return [*self._memory_warnings(), *self._data_warnings(), *self._schedule_warnings()]

    def _memory_text(self) -> str:
        if isinstance(self.memory, str):
            return f"not foretold: {self.memory}"
        parts = [f"{name} {size / GIGABYTE:.2f}" for name, size in self.memory.parts.items() if size > 0.005 * GIGABYTE]
        free = f"{self.memory.available / GIGABYTE:.1f} GB free"
        return f"{self.memory.total / GIGABYTE:.2f} GB a rank, {free}: {', '.join(parts)}"

    def _first_loss_text(self) -> str:
        if isinstance(self.first_loss, str):
            return f"not foretold: {self.first_loss}"
        return f"about {self.first_loss.mean:.2f}"

    def _identities_text(self) -> str:
        of = self.identities
        single = f"; {of.single} have one" if of.single else ""
        return (
            f"{of.images} of {of.identities} identities, {of.least} to {of.most} each, median {of.median}{single}; "
            f"{self.num_classes} classes"
        )

    def _rate_text(self) -> str:
        lr, momentum = self.config.lr, self.config.mom
        return (
            f"{lr:g} with momentum {momentum:g} (in the long run {lr / (1 - momentum):.3g}); "
            f"{self._reference_rate:.3g} for {REFERENCE_BATCH} images"
        )

    @property
    def _reference_rate(self) -> float:
        return self.config.lr * REFERENCE_BATCH / self.config.batch_size

    def _epochs_text(self) -> str:
        if self.is_mined:
            return "rounds of mined triplets, each as long as what is found"
        steps = self.steps_per_epoch
        text = f"{steps} batches each"
        schedule = StepSchedule(self.config.lr, self.config.lr_steps)
        reached = [step for step in sorted(set(self.config.lr_steps)) if not 0 < self.config.max_steps < step]
        drops = [f"{schedule.lr_after(step):.1g} from {step / steps:.1f}" for step in reached if step < 1000 * steps]
        if drops:
            text += f"; rate {', '.join(drops[:4])}"
        elif self.config.max_steps > 0:
            text += "; one rate"
        if self.config.max_steps > 0:
            text += f"; end at {self.config.max_steps / steps:.1f}"
        return text

    def _memory_warnings(self) -> list[str]:
        if isinstance(self.memory, str) or self.memory.fits:
            return []
        needed = self.memory.total * self.memory.sharers / GIGABYTE
        ways_out = ["a smaller --per-batch-size"]
        if self.config.dtype == "float32":
            ways_out.append("--dtype bf16")
        ways_out.append("more --ranks on more machines or GPUs (class centres are split over them)")
        return [
            f"about {needed:.1f} GB are needed here and {self.memory.available / GIGABYTE:.1f} GB are free: "
            + ", ".join(ways_out)
        ]

    def _data_warnings(self) -> list[str]:
        found = []
        of = self.identities
        if self.num_classes > MANY_CLASSES * of.identities:
            found.append(
                f"{self.num_classes} classes, but only {of.identities} identities have images: the other centres are "
                "only ever pushed away, and take memory; correct `property` (or num_classes), unless it is meant"
            )
        if 2 * of.single > of.identities:
            found.append(
                f"{of.single} of {of.identities} identities have one image: nothing tells what stays the same in a "
                "person; data_images_filter leaves them out"
            )
        if self.has_batchnorm and self.rank_batch_size < FEW_FOR_BATCHNORM:
            found.append(
                f"{self.rank_batch_size} images a rank: BatchNorm's statistics are those of one rank's images, and so "
                f"few are noise; {FEW_FOR_BATCHNORM} or more (--per-batch-size)"
            )
        found.extend(overlap_text(overlap) for overlap in self.overlaps)
        return found

    def _schedule_warnings(self) -> list[str]:
        found = []
        if self._reference_rate > MANY_TIMES * USUAL_RATE:
            found.append(
                f"--lr {self.config.lr:g} for a batch of {self.config.batch_size} is as {self._reference_rate:.3g} for "
                f"{REFERENCE_BATCH} images, {self._reference_rate / USUAL_RATE:.3g} times the rate of 2019's recipes: "
                f"{USUAL_RATE * self.config.batch_size / REFERENCE_BATCH:.1g} would be theirs"
            )
        late = [step for step in self.config.lr_steps if 0 < self.config.max_steps < step]
        if 0 < len(late) < len(self.config.lr_steps):  # all of them: a short run at one rate, as the table says
            found.append(
                f"--lr-steps {', '.join(map(str, late))} lie behind max_steps {self.config.max_steps}: the rate does "
                "not drop there"
            )
        if self.config.margin_warmup > 0 and 0 < self.config.max_steps < self.config.margin_warmup:
            found.append(
                f"--margin-warmup {self.config.margin_warmup} is beyond max_steps {self.config.max_steps}: the whole "
                "margin is never reached"
            )
        return found


def wrapped(name: str, text: str) -> list[str]:
    """A row of the table, in lines of at most LINE_WIDTH."""
    lines = textwrap.wrap(text, LINE_WIDTH - NAME_WIDTH)
    return [f"{f'  {name}' if not number else '':<{NAME_WIDTH}}{line}" for number, line in enumerate(lines)]


def overlap_text(overlap: Overlap) -> str:
    """The finding as a sentence."""
    looked_at = "the" if overlap.looked_at == overlap.training else f"{overlap.looked_at} of the"
    named = ", ".join(map(str, overlap.labels[:NAMED_LABELS]))
    more = len(overlap.labels) - NAMED_LABELS
    labels = f"{named} and {more} more" if more > 0 else named
    return (
        f"{overlap.name}: {overlap.found} of its {overlap.pictures} pictures are the same as one of {looked_at} "
        f"{overlap.training} training images, by {SIDE}x{SIDE} thumbnails; of {len(overlap.labels)} identities "
        f"(labels {labels}; image {overlap.example}, for one). {overlap.known} of its {overlap.pairs} pairs show these "
        "people: its accuracy is not that of people never seen. Whom both sets have in other photographs alone is not "
        "found so"
    )


def require_labels_in_range(dataset: RecordDataset, num_classes: int) -> None:
    """Raise DataError where a label has no class; reads one record an identity."""
    least, most = dataset.label_range()
    if least < 0 or most >= num_classes:
        raise DataError(
            f"{dataset.path}: labels from {least} to {most}, but num_classes is {num_classes}: they must lie in "
            f"[0, {num_classes}); correct `property` or the config"
        )


def has_batchnorm(embedding: Symbol) -> bool:
    """Whether any layer normalises over the images of a batch."""
    return any(node.op == "BatchNorm" for node in embedding.nodes)


def ends_in_batchnorm(embedding: Symbol) -> bool:
    """Whether an untrained network gives D values of mean 0 and variance 1 over a batch: embeddings sqrt(D) long."""
    return embedding.heads[0].node.op == "BatchNorm"


def require_batchnorm_can_learn(embedding: Symbol, rank_batch_size: int, image_shape: Sequence[int]) -> None:
    """Raise ConfigError where a BatchNorm would see one value a channel: its variance is 0, and its output beta."""
    if rank_batch_size > 1:
        return
    height, width, channels = image_shape
    internals = embedding.get_internals()
    _, shapes, _ = internals.infer_shape(data=(1, channels, height, width))
    for head, shape in zip(internals.heads, shapes, strict=True):
        if head.node.op == "BatchNorm" and head.index == 0 and math.prod(shape[2:]) == 1:
            raise ConfigError(
                f"one image a rank: BatchNorm {head.node.name} would normalise single values, and give the same for "
                "every image; --per-batch-size 2 or more"
            )
