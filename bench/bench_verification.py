"""Ten-fold evaluation of 6,000 pairs: counting by sorted distances against a NumPy pass a fold and threshold.

    .venv/bin/python bench/bench_verification.py

*per threshold* is the protocol as 2019 ran it: for each of 10 folds, 400 thresholds on training and test pairs and
4,000 more for the validation rate, each comparing all distances. Both sides also compute the distances, and must agree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Side, compare, print_table, serve
from mxface.eval.roc import (
    ACCURACY_THRESHOLDS,
    TARGET_FAR,
    VAL_THRESHOLDS,
    evaluate,
    k_folds,
    normalise_rows,
    pair_distances,
)

PAIRS, EMB_SIZE, FOLDS = 6000, 512, 10
Array = NDArray[Any]


def make_pairs() -> tuple[Array, Array]:
    """Unit embeddings (2P, D) that overlap like a good model's, and issame (P,), 300 and 300 a fold."""
    rng = np.random.default_rng(0)
    issame = np.tile(np.repeat([True, False], PAIRS // FOLDS // 2), FOLDS)
    people = rng.normal(size=(PAIRS, EMB_SIZE))
    others = np.where(issame[:, None], people, rng.normal(size=people.shape))
    photographs = np.stack([people, others], axis=1) + rng.normal(scale=1.5, size=(PAIRS, 2, EMB_SIZE))
    return normalise_rows(photographs.reshape(2 * PAIRS, EMB_SIZE)), issame


def per_threshold(embeddings: Array, issame: Array) -> tuple[Array, ...]:
    """tpr, fpr, accuracies, val and far, one threshold at a time."""
    distances = pair_distances(embeddings)
    tprs, fprs, accuracies, vals, fars = [], [], [], [], []
    for fold in k_folds(len(issame), FOLDS):
        train = np.ones(len(issame), bool)
        train[fold] = False
        scores = [rates(threshold, distances[train], issame[train])[2] for threshold in ACCURACY_THRESHOLDS]
        tested = [rates(threshold, distances[fold], issame[fold]) for threshold in ACCURACY_THRESHOLDS]
        tprs.append([tpr for tpr, _, _ in tested])
        fprs.append([fpr for _, fpr, _ in tested])
        accuracies.append(tested[int(np.argmax(scores))][2])
        train_far = [accepted(threshold, distances[train], issame[train])[1] for threshold in VAL_THRESHOLDS]
        threshold = np.interp(TARGET_FAR, train_far, VAL_THRESHOLDS) if max(train_far) >= TARGET_FAR else 0.0
        val, far = accepted(threshold, distances[fold], issame[fold])
        vals.append(val)
        fars.append(far)
    return np.mean(tprs, axis=0), np.mean(fprs, axis=0), np.array(accuracies), np.mean(vals), np.mean(fars)


def rates(threshold: float, distances: Array, issame: Array) -> tuple[float, float, float]:
    """tpr, fpr and accuracy at a threshold."""
    predicted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(predicted, issame))
    false_accepts = np.sum(np.logical_and(predicted, np.logical_not(issame)))
    true_rejects = np.sum(np.logical_and(np.logical_not(predicted), np.logical_not(issame)))
    false_rejects = np.sum(np.logical_and(np.logical_not(predicted), issame))
    tpr = true_accepts / (true_accepts + false_rejects)
    fpr = false_accepts / (false_accepts + true_rejects)
    return tpr, fpr, (true_accepts + true_rejects) / len(distances)


def accepted(threshold: float, distances: Array, issame: Array) -> tuple[float, float]:
    """Shares of same and of different pairs below a threshold."""
    predicted = np.less(distances, threshold)
    same = np.sum(np.logical_and(predicted, issame)) / np.sum(issame)
    different = np.sum(np.logical_and(predicted, np.logical_not(issame))) / np.sum(np.logical_not(issame))
    return same, different


def vectorised(embeddings: Array, issame: Array) -> tuple[Array, ...]:
    """The product's figures."""
    result = evaluate(embeddings, issame, FOLDS)
    return result.tpr, result.fpr, result.accuracy, np.array(result.val), np.array(result.far)


SIDES: dict[str, tuple[Callable[[Array, Array], tuple[Array, ...]], int]] = {
    "per threshold": (per_threshold, 1),
    "mxface": (vectorised, 30),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=SIDES, help="be one side (the script starts itself)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    embeddings, issame = make_pairs()
    if args.side:
        run, repeats = SIDES[args.side]
        return serve(lambda: sum(1 for _ in range(repeats) if run(embeddings, issame)), warm_up=1)
    for ours, theirs in zip(vectorised(embeddings, issame), per_threshold(embeddings, issame), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    blocks = compare([Side(name, sys.executable, Path(__file__)) for name in SIDES], rounds=args.rounds)
    thresholds = f"{len(ACCURACY_THRESHOLDS)} + {len(VAL_THRESHOLDS)} thresholds"
    title = f"{PAIRS} pairs of {EMB_SIZE} numbers, {FOLDS} folds, {thresholds}"
    print_table(blocks, baseline="per threshold", unit="evals", title=title)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
