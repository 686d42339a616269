"""The geometry of alignment: templates, the similarity to them, the warp, and which of several faces is meant.

2019's `src/common/face_preprocess.py` and `face_align.py` in numpy and OpenCV; needs no torch. Points are (x, y) in
pixels, in the order left eye, right eye, nose, left mouth corner, right mouth corner. Images are uint8 (H, W, 3) in
any channel order, which is kept; a grey (H, W) image works as well.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mxface.errors import ConfigError, DataError

Image = NDArray[np.uint8]

TEMPLATE_112x96 = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]],
    dtype=np.float64,
)
TEMPLATE_112x112 = TEMPLATE_112x96 + (8.0, 0.0)

# The centre crop of an image without a box leaves this share out on each side.
_CENTRE_INSET = 0.0625


def parse_image_size(text: str) -> tuple[int, int]:
    """Read 2019's `H,W` (one number: a square) as (height, width); only 112x112 and 112x96 have a template."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"image size {text!r}: not of the form H,W; give 112,112 or 112,96") from None
    height, width = numbers * 2 if len(numbers) == 1 else (numbers + [0, 0])[:2]
    if len(numbers) > 2 or height != 112 or width not in (112, 96):
        raise ConfigError(f"image size {text!r}: there is no template of that size; give 112,112 or 112,96")
    return height, width


def estimate_similarity(src: ArrayLike, dst: ArrayLike) -> NDArray[np.float64]:
    """Return the 2x3 matrix of the rotation, uniform scale and shift that take `src` (n, 2) nearest to `dst` (n, 2).

    The least-squares similarity of Umeyama (1991), as `skimage.transform.SimilarityTransform.estimate`. In the plane
    it needs no SVD: read as complex numbers, the points obey dst = a*src + b, an ordinary regression with one slope.

    Raises DataError where no such transform exists: points that coincide, are not finite, or give a scale of zero.
    """
    src_xy, dst_xy = np.asarray(src, np.float64), np.asarray(dst, np.float64)
    if not (np.isfinite(src_xy).all() and np.isfinite(dst_xy).all()):
        raise DataError("landmarks determine no similarity: not all are finite")
    source, target = src_xy @ (1, 1j), dst_xy @ (1, 1j)
    source_mean, target_mean = source.mean(), target.mean()
    spread = source - source_mean
    covariance = np.vdot(spread, target - target_mean)
    variance = np.vdot(spread, spread).real
    nothing = 1e-12 * max(variance, abs(source_mean) ** 2, 1.0)
    if variance <= nothing or abs(covariance) <= nothing:
        raise DataError("landmarks determine no similarity: they coincide or balance out")
    slope = covariance / variance
    shift = target_mean - slope * source_mean
    return np.array([[slope.real, -slope.imag, shift.real], [slope.imag, slope.real, shift.imag]])


def preprocess(
    img: Image,
    bbox: ArrayLike | None = None,
    landmark: ArrayLike | None = None,
    image_size: str = "112,112",
    margin: int = 44,
) -> Image:
    """Align one face: warp its landmarks onto the template; without usable landmarks, resize its box with a margin.

    `bbox` is x1, y1, x2, y2 (more columns are ignored), `landmark` (5, 2). With landmarks the box is not looked at.
    With neither, the centre of the image (6.25 % off each side) is the box: on a 250x250 LFW image the margin then
    covers the whole image, which 2019's lists hold. Landmarks that determine no similarity count as none.
    """
    height, width = parse_image_size(image_size)
    if landmark is not None:
        try:
            matrix = estimate_similarity(landmark, TEMPLATE_112x112 if width == 112 else TEMPLATE_112x96)
        except DataError:
            pass
        else:
            return warp(img, matrix, (height, width))
    crop = crop_with_margin(img, centre_box(img) if bbox is None else bbox, margin)
    return np.asarray(cv2.resize(crop, (width, height)), np.uint8)


def warp(img: Image, matrix: ArrayLike, size: tuple[int, int]) -> Image:
    """Apply a 2x3 matrix (from `img` to the result of `size` height, width) bilinearly; outside the image is black."""
    height, width = size
    return np.asarray(cv2.warpAffine(img, np.asarray(matrix, np.float64), (width, height), borderValue=0.0), np.uint8)


def centre_box(img: Image) -> NDArray[np.float64]:
    """The box that stands for a face where none is known: 6.25 % inside the image's edges."""
    height, width = img.shape[:2]
    left, top = int(_CENTRE_INSET * width), int(_CENTRE_INSET * height)
    return np.array([left, top, width - left, height - top], np.float64)


def crop_with_margin(img: Image, bbox: ArrayLike, margin: int) -> Image:
    """Cut out the box grown by half of `margin` on each side and clipped to the image.

    Raises DataError where nothing of the box lies inside the image.
    """
    height, width = img.shape[:2]
    x1, y1, x2, y2 = np.asarray(bbox, np.float64)[:4]
    grow = margin // 2
    left, top = int(max(x1 - grow, 0)), int(max(y1 - grow, 0))
    right, bottom = int(min(x2 + grow, width)), int(min(y2 + grow, height))
    if right <= left or bottom <= top:
        raise DataError(f"box {[x1, y1, x2, y2]} lies outside the image of {width}x{height} pixels")
    return img[top:bottom, left:right]


def choose_face(boxes: ArrayLike, size: tuple[int, int]) -> int:
    """Return the row of the face that is meant: large and near the centre of an image of `size` (height, width).

    The largest `area - 2 * squared distance of the centres`, the first of equals; boxes are (n, >=4), n >= 1.
    """
    corners = np.asarray(boxes, np.float64)[:, :4]
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    offset = (corners[:, :2] + corners[:, 2:]) / 2 - np.array([size[1], size[0]]) / 2
    return int(np.argmax(area - 2.0 * (offset**2).sum(axis=1)))
