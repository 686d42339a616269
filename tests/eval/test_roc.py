"""The vectorised evaluation against a plain one that loops over thresholds, as the protocol is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mxface.errors import DataError
from mxface.eval.roc import (
    ACCURACY_THRESHOLDS,
    TARGET_FAR,
    VAL_THRESHOLDS,
    evaluate,
    evaluate_distances,
    k_folds,
    normalise_rows,
    pair_distances,
    roc_curve,
)


def share(hits: NDArray[np.bool_]) -> float:
    return float(hits.sum() / len(hits)) if len(hits) else 0.0


def plain_evaluation(distances: NDArray[np.float64], issame: NDArray[np.bool_], nrof_folds: int) -> dict[str, object]:
    """One threshold and one fold at a time."""
    pairs = np.arange(len(issame))
    tpr, fpr, accuracy, best, val, far = [], [], [], [], [], []
    for test in np.array_split(pairs, nrof_folds):
        train = np.setdiff1d(pairs, test) if nrof_folds > 1 else test
        train_accuracy = [share((distances[train] < t) == issame[train]) for t in ACCURACY_THRESHOLDS]
        threshold = ACCURACY_THRESHOLDS[int(np.argmax(train_accuracy))]
        best.append(threshold)
        accuracy.append(share((distances[test] < threshold) == issame[test]))
        same, different = distances[test][issame[test]], distances[test][~issame[test]]
        tpr.append([share(same < t) for t in ACCURACY_THRESHOLDS])
        fpr.append([share(different < t) for t in ACCURACY_THRESHOLDS])
        train_far = [share(distances[train][~issame[train]] < t) for t in VAL_THRESHOLDS]
        threshold = plain_interpolation(train_far) if max(train_far) >= TARGET_FAR else 0.0
        val.append(share(same < threshold))
        far.append(share(different < threshold))
    return {
        "tpr": np.mean(tpr, axis=0),
        "fpr": np.mean(fpr, axis=0),
        "accuracy": np.array(accuracy),
        "thresholds": np.array(best),
        "val": np.mean(val),
        "val_std": np.std(val),
        "far": np.mean(far),
    }


def plain_interpolation(far: list[float]) -> float:
    last = max(i for i, value in enumerate(far) if value <= TARGET_FAR)
    if last + 1 == len(far):
        return float(VAL_THRESHOLDS[last])
    part = (TARGET_FAR - far[last]) / (far[last + 1] - far[last])
    return float(VAL_THRESHOLDS[last] + part * (VAL_THRESHOLDS[last + 1] - VAL_THRESHOLDS[last]))


@st.composite
def judged_pairs(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    count = draw(st.integers(1, 40))
    # Multiples of 0.005 fall on thresholds and repeat; the others fall between.
    distance = st.one_of(st.integers(0, 900).map(lambda n: n * 0.005), st.floats(0, 4.5))
    distances = draw(st.lists(distance, min_size=count, max_size=count))
    issame = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return np.array(distances), np.array(issame), draw(st.integers(1, min(count, 10)))


@settings(max_examples=40, deadline=None)
@given(judged_pairs())
def test_equals_the_plain_evaluation(case: tuple[NDArray[np.float64], NDArray[np.bool_], int]) -> None:
    distances, issame, nrof_folds = case
    ours = evaluate_distances(distances, issame, nrof_folds)
    for name, expected in plain_evaluation(distances, issame, nrof_folds).items():
        np.testing.assert_allclose(getattr(ours, name), expected, rtol=0, atol=1e-12, err_msg=name)


def random_embeddings(pairs: int, size: int = 16, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    issame = np.arange(pairs) % 2 == 0
    left = rng.normal(size=(pairs, size))
    right = np.where(issame[:, None], left + rng.normal(scale=0.8, size=left.shape), rng.normal(size=left.shape))
    embeddings = np.empty((2 * pairs, size))
    embeddings[0::2], embeddings[1::2] = left, right
    return normalise_rows(embeddings), issame


def test_a_tie_takes_the_first_threshold() -> None:
    # Any threshold in (0.5, 2] separates these; 0.51 is the first.
    result = evaluate_distances(np.array([0.5, 2.0] * 4), np.array([True, False] * 4), 2)
    np.testing.assert_array_equal(result.thresholds, ACCURACY_THRESHOLDS[[51, 51]])
    assert result.mean == 1.0


def test_a_pair_at_the_threshold_is_refused() -> None:
    at_threshold = ACCURACY_THRESHOLDS[100]
    result = evaluate_distances(np.full(4, at_threshold), np.array([True, False] * 2), 2)
    assert result.tpr[100] == 0
    assert result.tpr[101] == 1


def test_one_fold_judges_its_own_pairs() -> None:
    embeddings, issame = random_embeddings(50)
    distances = pair_distances(embeddings)
    best = max(share((distances < t) == issame) for t in ACCURACY_THRESHOLDS)
    assert evaluate(embeddings, issame, nrof_folds=1).accuracy.tolist() == [best]


@pytest.mark.parametrize("same", [True, False])
def test_pairs_of_one_class_only_give_defined_numbers(same: bool) -> None:
    embeddings, issame = random_embeddings(30)
    result = evaluate(embeddings, np.full_like(issame, same))
    assert result.mean > 0.9
    assert (result.val, result.val_std) == (0.0, 0.0)
    assert not (result.fpr if same else result.tpr).any()
    assert (result.tpr if same else result.fpr)[-1] == 1.0


def test_folds_are_contiguous_and_the_first_are_longer() -> None:
    assert [fold.stop - fold.start for fold in k_folds(13, 5)] == [3, 3, 3, 2, 2]
    assert k_folds(13, 5)[-1] == slice(11, 13)


@pytest.mark.parametrize("nrof_folds", [0, -1, 31])
def test_folds_that_cannot_be_made_are_refused(nrof_folds: int) -> None:
    embeddings, issame = random_embeddings(30)
    with pytest.raises(DataError, match="30 pairs cannot be split"):
        evaluate(embeddings, issame, nrof_folds)


def test_embeddings_that_do_not_fit_the_pairs_are_refused() -> None:
    embeddings, issame = random_embeddings(30)
    with pytest.raises(DataError, match="59 embeddings for 30 pairs"):
        evaluate(embeddings[:-1], issame)


def test_all_principal_components_keep_the_geometry_of_centred_vectors() -> None:
    embeddings, issame = random_embeddings(60, size=6)
    centred = normalise_rows(embeddings - embeddings.mean(axis=0))
    projected = evaluate(embeddings, issame, nrof_folds=1, pca=6)
    np.testing.assert_allclose(projected.tpr, evaluate(centred, issame, nrof_folds=1).tpr)
    with pytest.raises(DataError, match="pca 7"):
        evaluate(embeddings, issame, pca=7)


def test_float32_is_judged_in_float64() -> None:
    embeddings, issame = random_embeddings(40)
    single = embeddings.astype(np.float32)
    np.testing.assert_array_equal(evaluate(single, issame).distances, pair_distances(single.astype(np.float64)))


def test_a_row_of_zeros_stays() -> None:
    np.testing.assert_array_equal(normalise_rows(np.array([[0, 0], [3, 4]])), [[0, 0], [0.6, 0.8]])


def test_curve_runs_from_corner_to_corner() -> None:
    distances = np.array([0.1, 0.2, 0.2, 0.9, 1.5])
    fpr, tpr = roc_curve(distances, np.array([1, 1, 0, 1, 0]))
    np.testing.assert_allclose(tpr, [0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(fpr, [0, 0, 0.5, 0.5, 1])
