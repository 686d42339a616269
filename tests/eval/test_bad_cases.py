"""Which pairs count as bad, and how their sheet is laid out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.faces import encoded_pairs

from mxface.eval.bad_cases import JudgedPair, draw_sheet, find_bad_cases, find_hardest, write_bad_cases
from mxface.eval.protocol import PairSet, decode_pair_set
from mxface.eval.roc import Evaluation, evaluate_distances

DISTANCES = np.array([1.0, 1.3, 3.0, 0.7, 2.0, 1.0, 1.9, 1.02, 0.5, 2.0])
ISSAME = np.array([True, True, False, False, False, True, True, False, False, False])


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return replace(evaluate_distances(DISTANCES, ISSAME, 2), thresholds=np.array([1.01, 1.01]))


@pytest.fixture(scope="module", params=[(112, 112), (80, 64)], ids=str)
def pairs(request: pytest.FixtureRequest) -> PairSet:
    return decode_pair_set("people", *encoded_pairs(10, size=request.param), request.param)


def test_false_negatives_come_farthest_first_and_false_positives_nearest_first(evaluation: Evaluation) -> None:
    negatives, positives = find_bad_cases(evaluation, ISSAME)
    assert [(case.pair, case.distance) for case in negatives] == [(6, 1.9), (1, 1.3)]
    assert [(case.pair, case.distance) for case in positives] == [(8, 0.5), (3, 0.7)]


def test_a_pair_at_its_threshold_is_in_neither_list() -> None:
    evaluation = evaluate_distances(np.array([0.5, 1.5]), np.array([True, False]), 1)
    evaluation = replace(evaluation, distances=evaluation.thresholds.repeat(2))
    assert find_bad_cases(evaluation, np.array([True, False])) == ([], [])


def test_the_hardest_pairs_need_not_be_wrong(evaluation: Evaluation) -> None:
    same, different = find_hardest(evaluation, ISSAME, 3)
    assert [case.pair for case in same] == [6, 1, 0]
    assert [case.pair for case in different] == [8, 3, 7]


def test_sheet_layout(pairs: PairSet) -> None:
    height, width = pairs.images.shape[1:3]
    cases = [JudgedPair(pair, 0.5 + pair, 1.25) for pair in range(6)]
    sheet = draw_sheet(pairs, cases, 1.25)
    assert sheet.shape == (2 * height + 20, 4 * 2 * width + 3 * 10, 3)
    left, right = pairs.pair(5)  # second row, second column
    cell = sheet[height : 2 * height, 2 * width + 10 : 4 * width + 10]
    top = height // 2 - 12  # the distance is written below
    np.testing.assert_array_equal(cell[:top, :width], left[:top, :, ::-1])
    np.testing.assert_array_equal(cell[:top, width:], right[:top, :, ::-1])
    assert (sheet[:, 2 * width : 2 * width + 10] == 255).mean() > 0.9
    assert (sheet[height : 2 * height, 4 * width + 20 :] == 255).all()
    green = (sheet == (153, 255, 51)).all(axis=2)
    assert green[: 2 * height].sum() > 500
    assert green[2 * height :].any()


def test_the_distance_stands_where_2019_put_it(evaluation: Evaluation) -> None:
    pairs = decode_pair_set("people", *encoded_pairs(10), (112, 112))
    sheet = draw_sheet(pairs, [JudgedPair(0, 1.234, 1.25)], 1.25)
    expected = np.hstack(pairs.pair(0))[:, :, ::-1].copy()
    cv2.putText(expected, "1.234", (80, 63), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (153, 255, 51), 2)
    np.testing.assert_array_equal(sheet[:112, :224], expected)


def test_one_picture_a_kind_of_error(tmp_path: Path, pairs: PairSet, evaluation: Evaluation) -> None:
    written = write_bad_cases(tmp_path / "badcases", "lfw", replace(pairs, issame=ISSAME), evaluation)
    names = ["lfw_positive(false_negative).png", "lfw_negative(false_positive).png"]
    assert [path.name for path in written] == names
    assert all(cv2.imread(str(path)) is not None for path in written)


def test_nothing_is_written_where_nothing_is_wrong(tmp_path: Path, pairs: PairSet) -> None:
    perfect = evaluate_distances(np.where(pairs.issame, 0.5, 2.0), pairs.issame, 2)
    assert write_bad_cases(tmp_path, "lfw", pairs, perfect) == []
    assert not list(tmp_path.iterdir())
