"""The verification protocol of 2019: embed every picture as it is and mirrored, judge the pairs.

Legend: P pairs, N items (2P: pair i is items 2i and 2i+1), U distinct pictures, D embedding size.

The same photograph stands in many pairs (LFW: 12,000 items, 7,701 photographs): each is decoded and embedded once, and
every figure is taken over the N items.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mxface.errors import ConfigError, DataError
from mxface.eval.roc import Booleans, Evaluation, Floats, Integers, evaluate, normalise_rows
from mxface.formats.evalset import read_evalset
from mxface.loaders.decode import decode_image, resize_short
from mxface.loaders.ordered_map import ordered_map

Pictures = NDArray[np.uint8]  # (B, H, W, 3) RGB
Embedder = Callable[[Pictures], NDArray[Any]]  # -> (B, D)
Say = Callable[[str], object]
Share = Callable[[int], range]  # of so many pictures, those to decode

_log = logging.getLogger(__name__)

NUM_FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """Decoded pairs; decode once, verify as often as you like."""

    name: str
    images: Pictures  # (U, H, W, 3), every distinct picture once; or the share of them that was asked for
    items: Integers  # (N,) numbers of the U pictures
    issame: Booleans  # (P,)

    @property
    def num_pictures(self) -> int:
        """U, however many of them `images` holds."""
        return int(self.items.max()) + 1

    def pair(self, number: int) -> tuple[Pictures, Pictures]:
        """The two pictures (H, W, 3) of a pair, where all are here."""
        first, second = self.items[2 * number : 2 * number + 2]
        return self.images[first], self.images[second]


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """What a model makes of a PairSet."""

    xnorm: float  # mean length of the raw embeddings, plain and mirrored
    plain: Evaluation  # of the pictures as they are
    flip: Evaluation  # of the sum of the plain and the mirrored embedding: 2019's figure
    embeddings: Floats  # (N, D) behind `flip`, unit length
    seconds: float  # spent in embedding

    @property
    def acc1(self) -> float:
        return self.plain.mean

    @property
    def std1(self) -> float:
        return self.plain.std

    @property
    def acc2(self) -> float:
        return self.flip.mean

    @property
    def std2(self) -> float:
        return self.flip.std


class EmbeddedViews(NamedTuple):
    """Raw embeddings (n, D) of n pictures as they are and mirrored, and the seconds that it took."""

    plain: NDArray[Any]
    mirrored: NDArray[Any]
    seconds: float


def load_pair_set(
    path: str | os.PathLike[str], image_size: tuple[int, int], *, say: Say = _log.info, share: Share = range
) -> PairSet:
    """Read and decode a `.bin` set; (height, width) = `image_size`. `share` of the U pictures is decoded: all of them.

    Raises FormatError on a damaged file and DataError on a picture that cannot be decoded or does not fit.
    """
    path = Path(path)
    packed = read_evalset(path)
    return decode_pair_set(path.stem, packed.images, packed.issame, image_size, say=say, share=share)


def decode_pair_set(
    name: str,
    encoded: Iterable[bytes],
    issame: Sequence[bool] | NDArray[Any],
    image_size: tuple[int, int],
    *,
    say: Say = _log.info,
    share: Share = range,
) -> PairSet:
    """A PairSet of 2P encoded pictures, each distinct one of the `share` decoded once, in threads."""
    rows: dict[bytes, int] = {}
    items = np.array([rows.setdefault(picture, len(rows)) for picture in encoded], np.int64)
    if not len(items):
        raise DataError(f"{name}: no pair in it")

    def decode(picture: bytes) -> Pictures:
        try:
            return fit(decode_image(picture), image_size)
        except DataError as exc:
            raise DataError(f"{name}: picture {int(np.argmax(items == rows[picture]))}: {exc}") from exc

    own = share(len(rows))
    pictures = itertools.islice(rows, own.start, own.stop)
    images = np.empty((len(own), *image_size, 3), np.uint8)
    threads = os.cpu_count() or 1
    for row, image in enumerate(ordered_map(decode, pictures, threads=threads, window=32 * threads)):
        images[row] = image
        if row % 1000 == 0:
            say(f"loading bin {row}")
    say(f"{(len(items), 3, *image_size)}")
    return PairSet(name=name, images=images, items=items, issame=np.asarray(issame, bool))


def fit(image: Pictures, image_size: tuple[int, int]) -> Pictures:
    """A picture of (height, width) = `image_size`: as it is, or scaled where both are square; else DataError."""
    height, width = image_size
    fitted = resize_short(image, height) if image.shape[:2] != image_size and height == width else image
    if fitted.shape[:2] != image_size:
        raise DataError(
            f"{image.shape[0]}x{image.shape[1]} pixels do not fit {height}x{width} (height x width); "
            "pack aligned faces of that size, or correct the size in the data's `property`"
        )
    return fitted


def verify(
    embed: Embedder,
    pairs: PairSet,
    *,
    batch_size: int = 32,
    nrof_folds: int = NUM_FOLDS,
    progress: bool = False,
    say: Say = _log.info,
) -> VerificationResult:
    """Embed the pictures of `pairs` plain and mirrored and judge the pairs.

    Raises DataError where an embedding is not finite, or there are fewer pairs than folds; ConfigError for a batch
    size below 1.
    """
    say("testing verification..")
    views = embed_views(embed, pairs.images, batch_size=batch_size, name=pairs.name, progress=progress)
    return judge_views(views, pairs, nrof_folds=nrof_folds, say=say)


def embed_views(
    embed: Embedder, images: Pictures, *, batch_size: int, name: str = "", progress: bool = False
) -> EmbeddedViews:
    """Embed pictures (n, H, W, 3) as they are and mirrored; ConfigError for a batch size below 1.

    `name` is that of the progress bar.
    """
    if batch_size < 1:
        raise ConfigError(f"batch size {batch_size}: must be 1 or more")
    started = time.perf_counter()
    with tqdm(total=2 * len(images), desc=name, unit="image", disable=None if progress else True) as bar:
        plain, mirrored = (_embed_all(embed, view, batch_size, bar) for view in (images, images[:, :, ::-1]))
    return EmbeddedViews(plain, mirrored, time.perf_counter() - started)


def judge_views(
    views: EmbeddedViews, pairs: PairSet, *, nrof_folds: int = NUM_FOLDS, say: Say = _log.info
) -> VerificationResult:
    """Judge the pairs by the embeddings of all U pictures; the DataErrors of `verify`."""
    plain, mirrored = (_require_finite(np.asarray(view, np.float64)) for view in (views.plain, views.mirrored))
    lengths = (np.linalg.norm(plain, axis=1) + np.linalg.norm(mirrored, axis=1)) / 2
    embeddings = normalise_rows(plain + mirrored)[pairs.items]  # added in float64, as in 2019
    say(f"{embeddings.shape}")
    say(f"infer time {views.seconds:.6f}")
    return VerificationResult(
        xnorm=float(lengths[pairs.items].mean()),
        plain=evaluate(normalise_rows(plain)[pairs.items], pairs.issame, nrof_folds),
        flip=evaluate(embeddings, pairs.issame, nrof_folds),
        embeddings=embeddings,
        seconds=views.seconds,
    )


def _embed_all(embed: Embedder, images: Pictures, batch_size: int, bar: tqdm[Any]) -> NDArray[Any]:
    """Raw embeddings (n, D), in the type that `embed` gives; (0, 0) of no pictures."""
    parts = []
    for start in range(0, len(images), batch_size):
        batch = np.ascontiguousarray(images[start : start + batch_size])  # torch takes no negative strides
        parts.append(embed(batch))
        bar.update(len(batch))
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _require_finite(embeddings: Floats) -> Floats:
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        raise DataError(
            f"{len(broken)} of {len(embeddings)} embeddings are not finite numbers (the first: picture {broken[0]}); "
            "the model has diverged or its .params are damaged"
        )
    return embeddings


def pixel_embedder(side: int = 32) -> Embedder:
    """The baseline of any model: a picture's own colours at `side` x `side`, less their mean.

    Shrinking makes the baseline cheap, not worse: on LFW it judges 0.644 of the pairs rightly at 56 pixels a side,
    0.643 at 28, and 0.635 in grey at the full 112.
    """

    def embed(images: Pictures) -> NDArray[np.float32]:
        small = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images]
        colours = np.stack(small).reshape(len(images), -1).astype(np.float32)
        colours -= colours.mean(axis=1, keepdims=True)
        return colours

    return embed
