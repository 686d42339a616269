"""The cascade with networks that are played by hand, so that every expected number can be worked out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mxface.detect.mtcnn import MtcnnDetector, whole_image
from mxface.detect.mtcnn_networks import Networks
from mxface.errors import ConfigError

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
LANDMARK = np.array([0.2, 0.8, 0.5, 0.3, 0.7, 0.3, 0.3, 0.5, 0.8, 0.8], np.float32)


def probability(face: float, rows: int) -> np.ndarray:
    return np.tile(np.array([[1 - face, face]], np.float32), (rows, 1))


class Player:
    """Networks that find one face: PNet in one cell of the coarsest level, the others in whatever they are shown."""

    def __init__(self, *, rnet: float = 0.9, onet: float = 0.95, patch: float = 0.5) -> None:
        self.scores = {"rnet": rnet, "onet": onet}
        self.patch = patch
        self.shown: dict[str, list[np.ndarray]] = {"pnet": [], "rnet": [], "onet": [], "lnet": []}

    def networks(self, with_lnet: bool = False) -> Networks:
        lnet = self.lnet if with_lnet else None
        return Networks(pnet=self.pnet, rnet=self.rnet, onet=self.onet, lnet=lnet)

    def pnet(self, data: np.ndarray) -> list[np.ndarray]:
        self.shown["pnet"].append(data)
        rows, columns = (math.ceil((side - 2) / 2) - 4 for side in data.shape[2:])
        scores = np.zeros((1, 2, rows, columns), np.float32)
        if rows <= 4:
            scores[0, 1, 0, -1] = 0.99
        return [np.zeros((1, 4, rows, columns), np.float32), scores]

    def rnet(self, data: np.ndarray) -> list[np.ndarray]:
        self.shown["rnet"].append(data)
        return [np.full((len(data), 4), 0.1, np.float32), probability(self.scores["rnet"], len(data))]

    def onet(self, data: np.ndarray) -> list[np.ndarray]:
        self.shown["onet"].append(data)
        regression = np.tile(np.array([[-0.1, 0.0, 0.1, 0.0]], np.float32), (len(data), 1))
        return [np.tile(LANDMARK, (len(data), 1)), regression, probability(self.scores["onet"], len(data))]

    def lnet(self, data: np.ndarray) -> list[np.ndarray]:
        self.shown["lnet"].append(data)
        outputs = [np.full((len(data), 2), 0.5, np.float32) for _ in range(5)]
        outputs[2][:, 0] = self.patch
        return outputs


def test_pyramid_shrinks_until_the_short_side_is_12_pixels() -> None:
    detector = MtcnnDetector(Player().networks(), minsize=20, factor=0.5)
    assert detector.pyramid(100, 200) == pytest.approx([0.6, 0.3, 0.15])
    assert detector.pyramid(20, 500) == []
    assert MtcnnDetector(Player().networks(), minsize=12).pyramid(12, 12) == []


@pytest.mark.parametrize("setting", [{"minsize": 0}, {"factor": 1.0}, {"factor": 0.0}, {"threshold": (0.6, 0.7)}])
def test_settings_that_no_pyramid_can_have_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} "):
        MtcnnDetector(Player().networks(), **setting)


def test_every_level_is_shown_to_pnet_in_its_range() -> None:
    player = Player()
    MtcnnDetector(player.networks(), factor=0.5).propose(IMAGE)
    assert [data.shape for data in player.shown["pnet"]] == [(1, 3, 36, 48), (1, 3, 18, 24)]
    assert all(data.dtype == np.float32 and -1 < data.min() < data.max() < 1 for data in player.shown["pnet"])


def test_a_face_goes_through_all_stages() -> None:
    detector = MtcnnDetector(Player().networks(), factor=0.5)
    proposed = detector.propose(IMAGE)
    # level 0.3, cell (0, 6): x from 13/0.3 = 43.3 to 25/0.3 = 83.3, y from 1/0.3 to 13/0.3
    np.testing.assert_allclose(proposed, [[43, 3, 83, 43, 0.99]], rtol=1e-6)
    refined = detector.refine(IMAGE, proposed)
    # clipped to x2 = 79 (37x41), a tenth to the right and down, square about the centre: 46.7..82.7 by 7.1..47.1
    np.testing.assert_allclose(refined, [[45, 7, 85, 47, 0.9]], rtol=1e-6)
    boxes, points = detector.locate(IMAGE, refined)
    # clipped to 35x41; a tenth wider on each side; landmarks in the clipped box
    np.testing.assert_allclose(boxes, [[41.5, 7, 82.5, 47, 0.95]], rtol=1e-6)
    np.testing.assert_allclose(points[0, :5], 45 + 35 * LANDMARK[:5], rtol=1e-6)
    np.testing.assert_allclose(points[0, 5:], 7 + 41 * LANDMARK[5:], rtol=1e-6)
    found = detector.detect_face(IMAGE)
    assert found is not None
    np.testing.assert_array_equal(found[0], boxes)
    np.testing.assert_array_equal(found[1], points)
    assert found[1].dtype == np.float32


@pytest.mark.parametrize("low", ["rnet", "onet"])
def test_a_score_at_or_below_its_threshold_is_no_face(low: str) -> None:
    # exact in float32, so that equality is equality
    player = Player(**{low: 0.75})
    assert MtcnnDetector(player.networks(), threshold=(0.6, 0.75, 0.75)).detect_face(IMAGE) is None
    assert MtcnnDetector(player.networks(), threshold=(0.6, 0.74, 0.74)).detect_face(IMAGE) is not None


@pytest.mark.parametrize(
    "image",
    [None, IMAGE[..., 0], IMAGE[..., :2], IMAGE[:0], IMAGE[:12, :12]],
    ids=["none", "grey", "two", "empty", "tiny"],
)
def test_what_cannot_hold_a_face_gives_none(image: np.ndarray | None) -> None:
    assert MtcnnDetector(Player().networks()).detect_face(image) is None


def test_the_image_as_one_face_starts_at_rnet_or_onet() -> None:
    player = Player()
    detector = MtcnnDetector(player.networks())
    np.testing.assert_array_equal(whole_image(IMAGE), [[0, 0, 80, 60, 0.9]])
    by_rnet, limited, by_onet = detector.detect_face(IMAGE, 1), detector.detect_face_limited(IMAGE), None
    assert by_rnet is not None and limited is not None
    np.testing.assert_array_equal(by_rnet[0], limited[0])
    assert [len(player.shown[name]) for name in ("pnet", "rnet", "onet")] == [0, 2, 2]
    by_onet = detector.detect_face_limited(IMAGE, 1)
    assert by_onet is not None
    assert [len(player.shown[name]) for name in ("pnet", "rnet", "onet")] == [0, 2, 3]
    np.testing.assert_allclose(by_onet[0], [[-8, 0, 87, 59, 0.95]], rtol=1e-6)


def test_landmarks_again_are_whole_numbers_near_the_patchs_middle() -> None:
    player = Player(patch=0.7)
    detector = MtcnnDetector(player.networks(with_lnet=True), accurate_landmark=True)
    boxes = np.array([[10.0, 10.0, 49.0, 55.0, 0.9]])
    points = np.array([[20.4, 40.4, 30.0, 22.6, 38.0, 25.0, 25.6, 35.0, 45.5, 46.5]], np.float32)
    # a quarter of 46 is 11.5, rounded to even 12; half of it, 6, is taken off and added after rounding
    moved = detector.refine_landmarks(IMAGE, boxes, points)
    assert moved.dtype == np.int32
    # the nose: 24 + 0.7 * 12 = 32.4, cut to 32; halves round to even: 39.5 -> 40, 40.5 -> 40
    np.testing.assert_array_equal(moved, [[20, 40, 32, 23, 38, 25, 26, 35, 46, 46]])
    assert player.shown["lnet"][0].shape == (1, 15, 24, 24)
    # each landmark's three channels are its own patch: the second is cut out around (40, 26)
    import cv2

    patch = cv2.resize(IMAGE[20:32, 34:46].astype(np.float32), (24, 24)).transpose(2, 0, 1)
    np.testing.assert_allclose(player.shown["lnet"][0][0, 3:6], (patch - 127.5) / 128, atol=1e-6)


def test_a_landmark_that_leaves_its_patch_stays_in_both_coordinates() -> None:
    boxes = np.array([[10.0, 10.0, 49.0, 55.0, 0.9]])
    points = np.full((1, 10), 30, np.float32)
    detector = MtcnnDetector(Player(patch=0.86).networks(with_lnet=True), accurate_landmark=True)
    np.testing.assert_array_equal(detector.refine_landmarks(IMAGE, boxes, points), np.full((1, 10), 30))


def test_landmarks_outside_the_image_stay_where_they_are() -> None:
    detector = MtcnnDetector(Player().networks(with_lnet=True), accurate_landmark=True)
    points = np.array([[-40, 200, 30, 10, 20, -40, 30, 300, 10, 10]], np.float32)
    np.testing.assert_array_equal(detector.refine_landmarks(IMAGE, np.array([[0.0, 0, 9, 9, 1]]), points), points)


def test_boxes_turned_inside_out_are_dropped() -> None:
    detector = MtcnnDetector(Player().networks())
    assert detector.refine(IMAGE, np.array([[10.0, 10, 5, 20, 0.9]])).shape == (0, 5)
    boxes, points = detector.locate(IMAGE, np.zeros((0, 5)))
    assert boxes.shape == (0, 5)
    assert points.shape == (0, 10)


def test_many_candidates_go_through_in_bounded_batches() -> None:
    player = Player()
    boxes = np.column_stack(
        [np.random.default_rng(0).integers(0, 30, (2500, 2)), np.full((2500, 2), 40), np.ones(2500)]
    )
    MtcnnDetector(player.networks()).refine(IMAGE, boxes.astype(float))
    assert [len(data) for data in player.shown["rnet"]] == [1024, 1024, 452]
