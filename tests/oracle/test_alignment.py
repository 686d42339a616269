"""Aligned faces of the 2019 original, and what the real networks say about them (oracle/runs/deploy)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.support import ASSETS, ORACLE

from mxface.align.geometry import TEMPLATE_112x112, estimate_similarity, preprocess
from mxface.deploy.face import decode_gender_age, embed, load_network, normalize
from mxface.runtime import Predictor

DEPLOY = ORACLE / "runs" / "deploy"
FACTS: dict[str, Any] = json.loads((DEPLOY / "deploy.json").read_text()) if DEPLOY.is_dir() else {}
PHOTOGRAPHS = [name for name, fact in FACTS.items() if "feature8" in fact]
ALIGNED = sorted(path.name for path in DEPLOY.glob("*.png"))
FACES = sorted(FACTS.get("lfw_gender_age", {}))

# The original warped with OpenCV 4.8.1; later ones round a pixel here and there the other way.
MEAN_LEVELS = 1e-3


def test_the_oracle_has_cases(oracle: Path, assets: Path) -> None:
    for cases in (PHOTOGRAPHS, ALIGNED, FACES):
        assert cases, f"{oracle}/runs/deploy lacks a part"


@pytest.fixture(scope="module")
def arrays(oracle: Path) -> dict[str, np.ndarray]:
    with np.load(DEPLOY / "mtcnn.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def recognition(assets: Path) -> Predictor:
    return load_network(f"{assets}/mobilefacenet-y1/model,0", -1)


@pytest.fixture(scope="module")
def gender_age(assets: Path) -> Predictor:
    return load_network(f"{assets}/gender-age/model,0", -1)


def first_landmark(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    return arrays[f"{name}/stage4/points"][0].reshape(2, 5).T


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_similarities_take_the_landmarks_where_the_original_takes_them(
    name: str, arrays: dict[str, np.ndarray]
) -> None:
    """The original computes in float32: at coordinates of thousands its shift is off by a thousandth of a pixel."""
    for points, matrix in zip(arrays[f"{name}/stage4/points"], arrays[f"{name}/M"], strict=True):
        landmark = points.reshape(2, 5).T
        ours = estimate_similarity(landmark, TEMPLATE_112x112)
        np.testing.assert_allclose(ours[:, :2], matrix[:, :2], atol=1e-6)
        homogeneous = np.column_stack([landmark, np.ones(5)])
        np.testing.assert_allclose(homogeneous @ ours.T, homogeneous @ matrix.T, atol=1e-3)


@pytest.mark.parametrize("picture", ALIGNED)
def test_aligned_faces_are_the_originals(picture: str, arrays: dict[str, np.ndarray]) -> None:
    (name,) = (name for name in PHOTOGRAPHS if picture.startswith(name.replace(".", "_")))
    kind = picture.removeprefix(name.replace(".", "_") + "_").removesuffix(".png")
    img = cv2.imread(str(ASSETS / "images" / name))
    ours = {
        "face0_aligned": lambda: preprocess(img, None, first_landmark(name, arrays)),
        "face0_112x96": lambda: preprocess(img, None, first_landmark(name, arrays), "112,96"),
        "face0_bboxcrop": lambda: preprocess(img, arrays[f"{name}/stage4/boxes"][0]),
        "centercrop": lambda: preprocess(img),
    }[kind]()
    expected = cv2.imread(str(DEPLOY / picture))
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < MEAN_LEVELS


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_are_described_as_by_the_original(
    name: str, arrays: dict[str, np.ndarray], recognition: Predictor, gender_age: Predictor
) -> None:
    img = cv2.imread(str(ASSETS / "images" / name))
    aligned = preprocess(img, None, first_landmark(name, arrays))[:, :, ::-1]
    np.testing.assert_allclose(aligned.mean(axis=(0, 1)), arrays[f"{name}/aligned_first_mean"], atol=1e-3)
    feature = normalize(embed(recognition, aligned))
    # pixels that were rounded the other way weigh more here than the engine
    np.testing.assert_allclose(feature, arrays[f"{name}/feature"], atol=1e-3)
    np.testing.assert_allclose(feature[:8], FACTS[name]["feature8"], atol=1e-3)
    described = decode_gender_age(embed(gender_age, aligned))
    assert described == (FACTS[name]["gender"], FACTS[name]["age"])


@pytest.mark.parametrize("face", FACES)
def test_aligned_lfw_faces_are_described_as_by_the_original(
    face: str, oracle: Path, arrays: dict[str, np.ndarray], recognition: Predictor, gender_age: Predictor
) -> None:
    aligned = cv2.imread(str(oracle / "runs" / "rec" / face))[:, :, ::-1]
    np.testing.assert_allclose(normalize(embed(recognition, aligned)), arrays[f"feat/{face}"], atol=1e-5)
    output = embed(gender_age, aligned)
    np.testing.assert_allclose(output, arrays[f"ga_raw/{face}"][0], atol=1e-4)
    fact = FACTS["lfw_gender_age"][face]
    assert decode_gender_age(output) == (fact["gender"], fact["age"])
