"""Networks found and loaded from folders."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.mtcnn_files import landmark_in, save_constant_mtcnn

from mxface.detect import mtcnn_networks
from mxface.detect.mtcnn import MtcnnDetector
from mxface.detect.mtcnn_networks import find_model_folder, load_networks, run_in_batches
from mxface.errors import DataError

IMAGE = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_constant_mtcnn(tmp_path_factory.mktemp("mtcnn"))


def test_a_detector_from_files(folder: Path) -> None:
    detection = MtcnnDetector(folder, device="cpu").detect_face(IMAGE, det_type=1)
    assert detection is not None
    boxes, points = detection
    # the whole image, made square by RNet, clipped to 60 columns by ONet's crop
    np.testing.assert_allclose(boxes, [[0, 0, 59, 79, 0.99966]], atol=1e-4)
    np.testing.assert_allclose(points[0].reshape(2, 5).T, landmark_in(0, 0, 59, 79), atol=1e-4)


def test_without_det4_the_points_stay_det3s_and_a_warning_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = MtcnnDetector(folder, device="cpu").detect_face(IMAGE, 1)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        accurate = MtcnnDetector(folder, accurate_landmark=True, device="cpu")
    assert [record.getMessage() for record in caplog.records] == [
        f"no det4 in {folder}: landmarks are det3's, a little less exact"
    ]
    detection = accurate.detect_face(IMAGE, 1)
    assert plain is not None and detection is not None
    np.testing.assert_array_equal(detection[1], plain[1])
    assert len(caplog.records) == 1


def test_the_folder_is_the_named_one_or_a_usual_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_model_folder(folder) == folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(tmp_path / "deploy" / "test.py")])
    with pytest.raises(DataError, match=r"no MTCNN networks .*mtcnn-model.*get_mtcnn\.py"):
        find_model_folder()
    with pytest.raises(DataError, match=r"no MTCNN networks .* in nowhere;"):
        find_model_folder("nowhere")
    models = save_constant_mtcnn(tmp_path / "models" / "mtcnn")
    assert find_model_folder() == models
    assert find_model_folder("") == models
    beside = save_constant_mtcnn(tmp_path / "deploy" / "mtcnn-model")
    monkeypatch.chdir(tmp_path / "deploy")
    assert find_model_folder() == beside


def test_batches_are_joined_in_order(folder: Path) -> None:
    data = np.zeros((2500, 3, 24, 24), np.float32)
    regression, probability = run_in_batches(load_networks(folder, device="cpu").rnet, data)
    assert regression.shape == (2500, 4)
    np.testing.assert_allclose(probability[:, 1], 0.99966, atol=1e-4)


def test_small_inputs_run_in_one_thread_and_leave_the_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads_seen: list[int] = []

    class Watcher:
        def predict(self, data: np.ndarray) -> list[np.ndarray]:
            threads_seen.append(torch.get_num_threads())
            return [data]

    monkeypatch.setattr(mtcnn_networks, "load_predictor", lambda *args, **options: Watcher())
    pnet = load_networks(folder).pnet
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pnet(np.zeros((1, 3, 112, 112), np.float32))
        pnet(np.zeros((1, 3, 1200, 1200), np.float32))
        assert threads_seen == [1, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
