"""The augmentations of 2019's iterator, on one RGB image (H, W, 3), given the draws that decide them.

Mirror and JPEG recompression work on uint8. Colour jitter goes to float32 and is not clipped, so its values leave
0..255 a little, as in 2019; the cut-out comes last, on either type.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mxface.errors import ConfigError
from mxface.loaders.decode import Image, decode_jpeg

FloatImage = npt.NDArray[np.float32]

JITTER = 0.125
LOWEST_QUALITY, HIGHEST_QUALITY = 2, 20
CUTOFF_VALUE = 128
_LUMA = np.array([[0.299, 0.587, 0.114]])
_IDENTITY, _GREY = np.eye(3), np.tile(_LUMA, (3, 1))


class Draw(IntEnum):
    """The column of `position_draws` that decides each matter."""

    MIRROR = 0
    RECOMPRESS = 1
    QUALITY = 2
    JITTER_ORDER = 3
    BRIGHTNESS = 4
    CONTRAST = 5
    SATURATION = 6
    CUTOFF = 7
    CENTRE_Y = 8
    CENTRE_X = 9


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which augmentations are on; `color` and `cutoff` are the config's `data_color` and `data_cutoff`.

    color: 0 none, 1 jitter, 2 jitter and, half the time, JPEG recompression before it. cutoff: the side of the grey
    square in pixels, 0 for none; cutoff_share: how many of the images have it.
    """

    rand_mirror: bool
    color: int
    cutoff: int
    cutoff_share: float = 0.5

    def __post_init__(self) -> None:
        if self.color < 0:
            raise ConfigError(f"color {self.color}: must be 0 (none), 1 (jitter) or 2 (jitter and JPEG)")
        if self.cutoff < 0:
            raise ConfigError(f"cutoff {self.cutoff}: must be the side of a square in pixels, or 0")

    def empty(self, shape: tuple[int, ...]) -> Image | FloatImage:
        """An array of `shape` for what `apply` returns: uint8, or float32 where colours are jittered."""
        return np.empty(shape, np.float32) if self.color else np.empty(shape, np.uint8)

    def apply(self, image: Image, draws: npt.NDArray[np.float64]) -> Image | FloatImage:
        """The augmented image; `image` itself may be changed. `draws` is a row of `position_draws`."""
        if self.rand_mirror and draws[Draw.MIRROR] < 0.5:
            mirror(image)
        if self.color > 1 and draws[Draw.RECOMPRESS] < 0.5:
            qualities = HIGHEST_QUALITY - LOWEST_QUALITY + 1
            image = recompress(image, LOWEST_QUALITY + int(draws[Draw.QUALITY] * qualities))
        augmented: Image | FloatImage = image
        if self.color:
            factors = 1 + JITTER * (2 * draws[Draw.BRIGHTNESS : Draw.SATURATION + 1] - 1)
            order = JITTER_ORDERS[int(draws[Draw.JITTER_ORDER] * len(JITTER_ORDERS))]
            augmented = color_jitter(image, factors.tolist(), order)
        if self.cutoff and draws[Draw.CUTOFF] < self.cutoff_share:
            height, width = image.shape[:2]
            cut_out(augmented, int(draws[Draw.CENTRE_Y] * height), int(draws[Draw.CENTRE_X] * width), self.cutoff)
        return augmented


def mirror(image: Image) -> None:
    """Swap left and right, in place."""
    cv2.flip(image, 1, dst=image)


def recompress(image: Image, quality: int) -> Image:
    """The image after a trip through JPEG at `quality`."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    # OpenCV's encoder: simplejpeg's gives other bytes at some qualities.
    _, encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return decode_jpeg(encoded.data, strict=True)


class Tone(NamedTuple):
    """What jitter makes of a pixel x of grey g: scale * x + grey_scale * g + offset. Any jitter of a tone is a tone."""

    scale: float
    grey_scale: float
    offset: float


def brightness(tone: Tone, factor: float, _mean_grey: float) -> Tone:
    """Scale all values."""
    return Tone(*(factor * part for part in tone))


def contrast(tone: Tone, factor: float, mean_grey: float) -> Tone:
    """Move all values away from (factor > 1) or towards the image's mean grey, which was `mean_grey` before `tone`."""
    scale, grey_scale, offset = tone
    grey_now = (scale + grey_scale) * mean_grey + offset
    return Tone(factor * scale, factor * grey_scale, factor * offset + (1 - factor) * grey_now)


def saturation(tone: Tone, factor: float, _mean_grey: float) -> Tone:
    """Move each pixel away from (factor > 1) or towards its own grey."""
    scale, grey_scale, offset = tone
    return Tone(factor * scale, factor * grey_scale + (1 - factor) * (scale + grey_scale), offset)


JITTERS: tuple[Callable[[Tone, float, float], Tone], ...] = (brightness, contrast, saturation)
JITTER_ORDERS = tuple(itertools.permutations(range(len(JITTERS))))


def color_jitter(image: Image, factors: Sequence[float], order: Sequence[int]) -> FloatImage:
    """Brightness, contrast and saturation by `factors` (in that order), applied in `order`; not clipped.

    One pass over the pixels for all three, in a third of the time of three.
    """
    pixels = image.astype(np.float32)
    mean_grey = cv2.mean(cv2.transform(pixels, _LUMA))[0]
    tone = Tone(1.0, 0.0, 0.0)
    for number in order:
        tone = JITTERS[number](tone, factors[number], mean_grey)
    matrix = np.empty((3, 4))
    matrix[:, :3] = tone.scale * _IDENTITY + tone.grey_scale * _GREY
    matrix[:, 3] = tone.offset
    return cv2.transform(pixels, matrix)  # type: ignore[return-value]


def cut_out(image: Image | FloatImage, centre_y: int, centre_x: int, side: int) -> None:
    """Fill the square of 2*(side//2) pixels around the centre, as far as it lies inside, with grey, in place."""
    half = side // 2
    rows = slice(max(centre_y - half, 0), centre_y + half)
    columns = slice(max(centre_x - half, 0), centre_x + half)
    image[rows, columns] = CUTOFF_VALUE
