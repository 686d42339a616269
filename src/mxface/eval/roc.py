"""How well distances tell one person from another: 2019's k-fold accuracy, ROC and validation rate.

Legend: P pairs, F folds, T thresholds, D embedding size; a class axis of 2 is (different people, the same person).
A pair is accepted as the same person if its squared Euclidean distance (0..4 for unit vectors) is strictly below the
threshold. Each fold's threshold is the one that judges the other folds best, the first of equals.

Nothing here loops over thresholds: each fold's distances are sorted once, `searchsorted` counts the accepted ones at
every threshold, and the counts of a training set are those of all folds less its own (bench/bench_verification.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mxface.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

ACCURACY_THRESHOLDS: Floats = np.arange(0, 4, 0.01)
VAL_THRESHOLDS: Floats = np.arange(0, 4, 0.001)
TARGET_FAR = 1e-3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The judgement of P pairs in F folds."""

    tpr: Floats  # (T,) at ACCURACY_THRESHOLDS, mean over the folds
    fpr: Floats  # (T,)
    accuracy: Floats  # (F,)
    thresholds: Floats  # (F,) that each accuracy was reached with
    val: float  # share of same pairs accepted at a false accept rate of TARGET_FAR, mean over the folds
    val_std: float
    far: float  # false accept rate really met, mean over the folds
    distances: Floats  # (P,) squared

    @property
    def mean(self) -> float:
        return float(self.accuracy.mean())

    @property
    def std(self) -> float:
        """Population standard deviation over the folds."""
        return float(self.accuracy.std())

    def pair_thresholds(self) -> Floats:
        """The threshold (P,) that each pair was judged by: its fold's."""
        folds = k_folds(len(self.distances), len(self.thresholds))
        return np.repeat(self.thresholds, [fold.stop - fold.start for fold in folds])


class RocCurve(NamedTuple):
    """Rates at every threshold that changes them, from (0, 0) to (1, 1), over all pairs at once."""

    fpr: Floats
    tpr: Floats

    def area(self) -> float:
        """Chance that a same pair is nearer than a different one."""
        return float((np.diff(self.fpr) * (self.tpr[1:] + self.tpr[:-1]) / 2).sum())

    def equal_error_rate(self) -> float:
        """The rate at which false accepts and false rejects are equally frequent."""
        return float(np.interp(0, self.fpr + self.tpr - 1, self.fpr))


class Tally(NamedTuple):
    """Pairs accepted of every fold (or of all other folds), class and threshold, and how many pairs there are."""

    accepted: Integers  # (F, 2, T)
    total: Integers  # (F, 2)

    def rates(self) -> Floats:
        """Share accepted, (F, 2, T); 0 where a fold has no pair of a class."""
        return self.accepted / np.maximum(self.total, 1)[:, :, None]

    def accuracy(self) -> Floats:
        """Share judged rightly, (F, T)."""
        right = self.accepted[:, 1] + self.total[:, :1] - self.accepted[:, 0]
        return np.asarray(right / self.total.sum(axis=1, keepdims=True), np.float64)


def evaluate(embeddings: NDArray[Any], issame: NDArray[Any], nrof_folds: int = 10, pca: int = 0) -> Evaluation:
    """Judge embeddings (2P, D), rows 2i and 2i+1 a pair, unit length; issame (P,).

    `nrof_folds=1` finds the threshold on the very pairs it judges. `pca` > 0 projects each fold on that many principal
    components of its training pairs first (the validation rate ignores it, as in 2019). Raises DataError on numbers
    that do not fit.
    """
    same = np.asarray(issame, bool)
    if len(embeddings) != 2 * len(same):
        raise DataError(
            f"{len(embeddings)} embeddings for {len(same)} pairs: each pair needs exactly two, one after the other"
        )
    distances = pair_distances(embeddings)
    if pca <= 0:
        return evaluate_distances(distances, same, nrof_folds)
    folds = k_folds(len(same), nrof_folds)
    train, test = _split_after_pca(embeddings, same, folds, pca)
    return _judge(train, test, distances, same, folds)


def evaluate_distances(distances: NDArray[Any], issame: NDArray[Any], nrof_folds: int = 10) -> Evaluation:
    """Judge pairs by their squared distances (P,); otherwise as `evaluate`."""
    same = np.asarray(issame, bool)
    folds = k_folds(len(same), nrof_folds)
    distances = np.asarray(distances, np.float64)
    train, test = _split(distances, same, folds, ACCURACY_THRESHOLDS)
    return _judge(train, test, distances, same, folds)


def _judge(train: Tally, test: Tally, distances: Floats, issame: Booleans, folds: list[slice]) -> Evaluation:
    best = train.accuracy().argmax(axis=1)
    fpr, tpr = test.rates().mean(axis=0)
    val, far = _validation_rates(distances, issame, folds)
    return Evaluation(
        tpr=tpr,
        fpr=fpr,
        accuracy=test.accuracy()[np.arange(len(folds)), best],
        thresholds=ACCURACY_THRESHOLDS[best],
        val=float(val.mean()),
        val_std=float(val.std()),
        far=float(far.mean()),
        distances=distances,
    )


def k_folds(count: int, nrof_folds: int) -> list[slice]:
    """Contiguous folds in the given order, the first `count % nrof_folds` one longer."""
    if nrof_folds < 1 or count < nrof_folds:
        raise DataError(f"{count} pairs cannot be split into {nrof_folds} folds; choose 1 to {count}")
    size, longer = divmod(count, nrof_folds)
    starts = [fold * size + min(fold, longer) for fold in range(nrof_folds + 1)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def pair_distances(embeddings: NDArray[Any]) -> Floats:
    """Squared distances (P,) between rows 2i and 2i+1 of embeddings (2P, D), in float64."""
    difference = np.subtract(embeddings[0::2], embeddings[1::2], dtype=np.float64)
    return np.asarray(np.square(difference, out=difference).sum(axis=1), np.float64)


def normalise_rows(vectors: NDArray[Any]) -> Floats:
    """Rows of unit length, in float64; a row of zeros stays."""
    rows = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, 1, norms), np.float64)


def roc_curve(distances: Floats, issame: NDArray[Any]) -> RocCurve:
    """The curve of all pairs, not folded; the rates of a class without pairs are 0."""
    thresholds = np.append(np.unique(distances), np.inf)
    fpr, tpr = tally(distances, np.asarray(issame, bool), [slice(None)], thresholds).rates()[0]
    return RocCurve(fpr, tpr)


def tally(distances: Floats, issame: Booleans, groups: Sequence[slice | Booleans], thresholds: Floats) -> Tally:
    """Count the pairs of each group (a slice or a mask of the P pairs) that every threshold accepts."""
    accepted = [
        [np.searchsorted(np.sort(distances[group][issame[group] == same]), thresholds) for same in (False, True)]
        for group in groups
    ]
    total = [np.bincount(issame[group], minlength=2) for group in groups]
    return Tally(np.array(accepted), np.array(total))


def _split(distances: Floats, issame: Booleans, folds: list[slice], thresholds: Floats) -> tuple[Tally, Tally]:
    """Training and test tallies of every fold."""
    test = tally(distances, issame, folds, thresholds)
    if len(folds) == 1:
        return test, test
    return Tally(test.accepted.sum(axis=0) - test.accepted, test.total.sum(axis=0) - test.total), test


def _split_after_pca(embeddings: NDArray[Any], issame: Booleans, folds: list[slice], pca: int) -> tuple[Tally, Tally]:
    """As `_split`, each fold with the distances of its own projection."""
    tallies = []
    for number, fold in enumerate(folds):
        _log.info("doing pca on %d", number)
        in_test = np.zeros(len(issame), bool)
        in_test[fold] = True
        in_train = in_test if len(folds) == 1 else ~in_test
        distances = pair_distances(_project(embeddings, np.repeat(in_train, 2), pca))
        tallies.append(tally(distances, issame, [in_train, in_test], ACCURACY_THRESHOLDS))
    accepted = np.stack([each.accepted for each in tallies], axis=1)
    total = np.stack([each.total for each in tallies], axis=1)
    return Tally(accepted[0], total[0]), Tally(accepted[1], total[1])


def _project(embeddings: NDArray[Any], fit_rows: Booleans, components: int) -> Floats:
    """Embeddings on the principal components of some of their rows, unit length again."""
    fitted = np.asarray(embeddings[fit_rows], np.float64)
    if components > min(fitted.shape):
        raise DataError(
            f"pca {components}: {len(fitted)} training rows of {fitted.shape[1]} numbers have fewer components"
        )
    centre = fitted.mean(axis=0)
    _, _, directions = np.linalg.svd(fitted - centre, full_matrices=False)
    return normalise_rows((embeddings - centre) @ directions[:components].T)


def _validation_rates(distances: Floats, issame: Booleans, folds: list[slice]) -> tuple[Floats, Floats]:
    """Rates (F,) of same and of different pairs below the threshold that lets TARGET_FAR through in training."""
    train, _ = _split(distances, issame, folds, VAL_THRESHOLDS)
    rates = []
    for fold, far in zip(folds, train.rates()[:, 0], strict=True):
        # Between the last threshold at or under the target and the next one: np.interp's rule where rates repeat.
        threshold = np.interp(TARGET_FAR, far, VAL_THRESHOLDS) if far[-1] >= TARGET_FAR else 0.0
        rates.append(tally(distances, issame, [fold], np.array([threshold])).rates()[0, :, 0])
    far, val = np.array(rates).T
    return val, far
