"""Cutting boxes out of an image for a network that takes one size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from mxface.detect.boxes import Patches


def crop_patches(img: NDArray[np.uint8], patches: Patches, side: int, dtype: DTypeLike) -> NDArray[np.number]:
    """Cut each box out, black where it leaves the image, and resize it bilinearly to (n, side, side, 3).

    `dtype` is that of the resize: uint8 rounds, float32 does not.
    """
    crops = np.zeros((len(patches.size), side, side, 3), dtype)
    for crop, (x1, y1, x2, y2), (width, height), (left, top) in zip(
        crops, patches.clipped.tolist(), patches.size.tolist(), patches.offset.tolist(), strict=True
    ):
        if x2 < x1 or y2 < y1:  # wholly outside: stays black
            continue
        part = img[y1 : y2 + 1, x1 : x2 + 1]
        if part.shape[:2] == (height, width):
            canvas = part.astype(dtype, copy=False)
        else:
            canvas = np.zeros((height, width, 3), dtype)
            canvas[top : top + y2 - y1 + 1, left : left + x2 - x1 + 1] = part
        cv2.resize(canvas, (side, side), dst=crop)
    return crops


def network_input(images: NDArray[np.number]) -> NDArray[np.float32]:
    """Map pixels of (n, H, W, 3) from 0..255 to about -1..1, as (n, 3, H, W)."""
    data = np.array(images.transpose(0, 3, 1, 2), np.float32, order="C")
    data -= 127.5
    data *= 0.0078125
    return data
