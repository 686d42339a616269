"""Box arithmetic against the rules written out in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxface.detect import boxes as B


def overlap(a: np.ndarray, b: np.ndarray, mode: str) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    shared = width * height
    return shared / (sum(areas) - shared) if mode == "union" else shared / min(areas)


def plain_nms(boxes: np.ndarray, threshold: float, mode: str) -> list[int]:
    keep: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda i: (boxes[i, 4], i), reverse=True):
        if all(overlap(boxes[row], boxes[kept], mode) <= threshold for kept in keep):
            keep.append(row)
    return keep


def random_boxes(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.integers(-20, 80, (count, 2))
    size = rng.integers(0, 50, (count, 2))
    score = rng.integers(0, 8, (count, 1)) / 8  # with ties
    return np.hstack([corner, corner + size, score]).astype(float)


@given(
    st.integers(0, 10**6),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    st.sampled_from(["union", "min"]),
)
def test_nms_keeps_what_no_better_box_covers(seed: int, count: int, threshold: float, mode: str) -> None:
    boxes = random_boxes(seed, count)
    assert B.nms(boxes, threshold, mode).tolist() == plain_nms(boxes, threshold, mode)  # type: ignore[arg-type]


def test_nms_drops_only_above_the_threshold() -> None:
    # 10x10 and 10x5 within it: the overlap is exactly one half of the union, and all of the smaller
    boxes = np.array([[0, 0, 9, 9, 0.9], [0, 0, 9, 4, 0.8]])
    assert B.nms(boxes, 0.5).tolist() == [0, 1]
    assert B.nms(boxes, 0.49).tolist() == [0]
    assert B.nms(boxes, 0.99, "min").tolist() == [0]


def test_generate_bbox_rounds_half_to_even_and_keeps_the_row_order() -> None:
    probability = np.zeros((2, 3), np.float32)
    probability[0, 2], probability[1, 0] = 0.75, 0.875
    regression = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    found = B.generate_bbox(probability, regression, 2.0, 0.6)
    # column 2: (2*2+1)/2 = 2.5 -> 2, (5+12)/2 = 8.5 -> 8; row 0: 0.5 -> 0, 6.5 -> 6
    np.testing.assert_array_equal(found, [[2, 0, 8, 6, 0.75, 2, 8, 14, 20], [0, 2, 6, 8, 0.875, 3, 9, 15, 21]])
    assert B.generate_bbox(probability, regression, 2.0, 0.9).shape == (0, 9)


def test_calibrate_moves_by_shares_of_the_inclusive_size() -> None:
    boxes = np.array([[10.0, 20.0, 19.0, 39.0, 0.5]])
    moved = B.calibrate(boxes, np.array([[0.1, -0.1, 0.2, 0.05]], np.float32))
    np.testing.assert_allclose(moved, [[11, 18, 21, 40, 0.5]], atol=1e-6)
    assert boxes[0, 0] == 10


def test_round_to_square_grows_about_the_centre() -> None:
    boxes = np.array([[10.0, 20.0, 19.0, 39.0, 0.5], [0.0, 0.0, 4.0, 2.0, 1.0]])
    np.testing.assert_array_equal(B.round_to_square(boxes), [[5, 20, 24, 39, 0.5], [0, -1, 4, 3, 1.0]])


@pytest.mark.parametrize(
    ("box", "clipped", "offset"),
    [
        ([3, 4, 9, 9], [3, 4, 9, 9], [0, 0]),
        ([-3, -4, 9, 9], [0, 0, 9, 9], [3, 4]),
        ([90, 40, 105, 55], [90, 40, 99, 49], [0, 0]),
        ([-5, -5, 104, 54], [0, 0, 99, 49], [5, 5]),
        ([0, 0, 100, 50], [0, 0, 99, 49], [0, 0]),
        ([120, 10, 130, 20], [120, 10, 99, 20], [0, 0]),
        ([-9, 10, -3, 16], [0, 10, -3, 16], [9, 0]),
    ],
)
def test_clip_to_image(box: list[int], clipped: list[int], offset: list[int]) -> None:
    boxes, patches = B.clip_to_image(np.array([[*box, 0.5]], float), 100, 50)
    np.testing.assert_array_equal(boxes, [[*clipped, 0.5]])
    np.testing.assert_array_equal(patches.clipped, [clipped])
    np.testing.assert_array_equal(patches.size, [[box[2] - box[0] + 1, box[3] - box[1] + 1]])
    np.testing.assert_array_equal(patches.offset, [offset])
