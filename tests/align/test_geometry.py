"""The similarity against Umeyama's SVD, the warp and the fallbacks against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxface.align import geometry
from mxface.errors import ConfigError, DataError


def umeyama(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Umeyama (1991), eqs. 38-43, as scikit-image writes it."""
    src_mean, dst_mean = src.mean(0), dst.mean(0)
    covariance = (dst - dst_mean).T @ (src - src_mean) / len(src)
    signs = np.array([1.0, -1.0 if np.linalg.det(covariance) < 0 else 1.0])
    u, singular, vt = np.linalg.svd(covariance)
    if np.linalg.matrix_rank(covariance) == 1:
        signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = singular @ signs / (src - src_mean).var(axis=0).sum()
    return np.column_stack([scale * rotation, dst_mean - scale * rotation @ src_mean])


@given(st.integers(0, 10**6), st.integers(2, 9), st.booleans())
def test_similarity_is_umeyamas(seed: int, count: int, mirrored: bool) -> None:
    rng = np.random.default_rng(seed)
    src = rng.normal(0, 30, (count, 2)) + 100
    dst = (src * (-1, 1) if mirrored else src) @ rng.normal(0, 1, (2, 2)) + rng.normal(0, 9, (count, 2))
    expected = umeyama(src, dst)
    np.testing.assert_allclose(geometry.estimate_similarity(src, dst), expected, atol=1e-7, rtol=1e-7)


def test_similarity_recovers_a_known_one() -> None:
    angle, scale = 0.3, 1.7
    matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]) * scale + [0, 0, 5.0]
    points = geometry.TEMPLATE_112x112
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(geometry.estimate_similarity(points, moved), matrix, atol=1e-12)


@pytest.mark.parametrize("value", [3.0, 0.0, 1e9, np.nan, np.inf])
def test_landmarks_without_extent_determine_nothing(value: float) -> None:
    with pytest.raises(DataError, match="no similarity"):
        geometry.estimate_similarity(np.full((5, 2), value), geometry.TEMPLATE_112x112)


def test_preprocess_leaves_an_aligned_face_and_crops_eight_columns_for_96() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    np.testing.assert_array_equal(geometry.preprocess(image, None, geometry.TEMPLATE_112x112), image)
    narrow = geometry.preprocess(image, None, geometry.TEMPLATE_112x112, "112,96")
    np.testing.assert_array_equal(narrow, image[:, 8:104])


def test_degenerate_landmarks_fall_back_to_the_box() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 150, 3), np.uint8)
    box = [40, 50, 100, 120]
    by_box = geometry.preprocess(image, box, None)
    np.testing.assert_array_equal(geometry.preprocess(image, box, np.zeros((5, 2))), by_box)
    assert (by_box != geometry.preprocess(image, box, geometry.TEMPLATE_112x112)).any()


def test_an_lfw_image_without_box_is_resized_whole() -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (250, 250, 3), np.uint8)
    np.testing.assert_array_equal(geometry.preprocess(image), cv2.resize(image, (112, 112)))


def test_crop_is_clipped_to_the_image_and_refused_outside() -> None:
    image = np.arange(100 * 80, dtype=np.uint8).reshape(100, 80)
    np.testing.assert_array_equal(geometry.crop_with_margin(image, [10, 20, 70, 90], 44), image[:100, :80])
    np.testing.assert_array_equal(
        geometry.crop_with_margin(image, [10.9, 20.2, 30.9, 40.9, 0.9], 0), image[20:40, 10:30]
    )
    with pytest.raises(DataError, match="outside the image of 80x100"):
        geometry.crop_with_margin(image, [200, 0, 210, 10], 44)


@pytest.mark.parametrize("text", ["", "112,x", "96,96", "112,128", "224", "1,2,3"])
def test_a_size_without_template_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="112,112"):
        geometry.parse_image_size(text)


def test_sizes_are_height_then_width() -> None:
    assert geometry.parse_image_size("112") == (112, 112)
    assert geometry.parse_image_size("112, 96") == (112, 96)


def test_the_face_chosen_is_large_and_central() -> None:
    corner, centre, small = [0, 0, 50, 50, 0.99], [75, 75, 125, 125, 0.5], [95, 95, 105, 105, 1.0]
    assert geometry.choose_face([corner, centre, small], (200, 200)) == 1
    assert geometry.choose_face([corner], (200, 200)) == 0
    assert geometry.choose_face([small, small], (200, 200)) == 0
    # 12,000 pixels of area outweigh 400 at the centre while within about 76 pixels of it
    assert geometry.choose_face([[0, 0, 100, 120], [90, 90, 110, 110]], (200, 200)) == 0
    assert geometry.choose_face([[-30, 0, 70, 120], [90, 90, 110, 110]], (200, 200)) == 1
