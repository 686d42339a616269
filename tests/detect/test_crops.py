"""Crops: black outside the image, rounded or not by the type of the resize."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mxface.detect.boxes import clip_to_image
from mxface.detect.crops import crop_patches, network_input

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def crop(box: list[float], side: int, dtype: type) -> np.ndarray:
    return crop_patches(IMAGE, clip_to_image(np.array([box], float), 60, 40)[1], side, dtype)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "box", [[5, 6, 28, 29], [-4, -7, 25, 20], [50, 30, 71, 50], [-10, -10, 69, 49], [0, 0, 60, 40]]
)
def test_a_crop_is_the_resized_part_of_an_image_with_black_around(box: list[float], dtype: type) -> None:
    padded = np.zeros((40 + 60, 60 + 60, 3), dtype)
    padded[30:70, 30:90] = IMAGE
    x1, y1, x2, y2 = (int(value) + 30 for value in box)
    np.testing.assert_array_equal(crop(box, 24, dtype), cv2.resize(padded[y1 : y2 + 1, x1 : x2 + 1], (24, 24)))


def test_float_crops_are_not_rounded() -> None:
    rounded, exact = crop([5, 6, 38, 37], 24, np.uint8), crop([5, 6, 38, 37], 24, np.float32)
    assert rounded.dtype == np.uint8
    assert (exact % 1 > 0).any()
    assert np.abs(rounded - exact).max() < 1


def test_a_box_outside_the_image_is_black() -> None:
    for box in ([70, 5, 90, 25], [-30, 5, -10, 25], [5, 41, 20, 55], [5, -40, 20, -1]):
        assert not crop(box, 12, np.uint8).any()


def test_network_input_is_centred_and_leaves_the_crops_alone() -> None:
    crops = np.array([0, 127.5, 255], np.float32).reshape(1, 1, 1, 3)
    data = network_input(crops)
    assert data.shape == (1, 3, 1, 1)
    np.testing.assert_array_equal(data.ravel(), [-0.99609375, 0, 0.99609375])
    assert crops.max() == 255
