"""Encoded images to pixels, as MXNet's decoder gives them.

JPEG goes to libjpeg-turbo through simplejpeg, which drops the GIL and gives OpenCV's and MXNet's very pixels (held
equal by tests/loaders/test_decode.py). Everything else (PNG, PGM, CMYK …) goes to OpenCV, and so does a camera's JPEG
that begins with EXIF data: OpenCV turns it upright, as MXNet does. Where JFIF data come first, MXNet looks for no EXIF.
"""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from mxface.errors import DataError

Image = npt.NDArray[np.uint8]

JPEG_START = b"\xff\xd8\xff"
EXIF_START = JPEG_START + b"\xe1"


def decode_image(encoded: bytes | memoryview) -> Image:
    """RGB pixels (H, W, 3) of an encoded image, in a fresh array; grey images get three equal channels.

    Raises DataError where the bytes are no image or an incomplete one.
    """
    if encoded[:3] != JPEG_START or encoded[:4] == EXIF_START:
        return decode_by_opencv(encoded)
    try:
        return decode_jpeg(encoded, strict=True)
    except ValueError as error:
        return decode_odd_jpeg(encoded, error)


def decode_jpeg(encoded: bytes | memoryview, *, strict: bool) -> Image:
    """RGB pixels of a JPEG; `strict` also refuses a stream in which the decoder had to guess."""
    pixels: Image = simplejpeg.decode_jpeg(encoded, "RGB", strict=strict)
    return pixels


def decode_odd_jpeg(encoded: bytes | memoryview, error: ValueError) -> Image:
    """A JPEG that strict decoding refused: stray bytes between its segments do no harm, lost ones do."""
    reason = str(error)
    if "extraneous bytes" in reason:
        with contextlib.suppress(ValueError):
            return decode_jpeg(encoded, strict=False)
    if "remature end" in reason or "Corrupt" in reason:
        raise DataError(f"a damaged JPEG image ({reason})") from error
    return decode_by_opencv(encoded)


def decode_by_opencv(encoded: bytes | memoryview) -> Image:
    """RGB pixels of any image that OpenCV reads."""
    data = np.frombuffer(encoded, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:  # absurd sizes
        raise DataError(f"an image that OpenCV refuses ({error.err})") from error
    if image is None:
        raise DataError(f"{data.size} bytes that are no image OpenCV can read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)  # type: ignore[return-value]


def resize_short(image: Image, size: int) -> Image:
    """The image scaled, bicubic, so that its shorter side is `size`, as `mx.image.resize_short` does."""
    height, width = image.shape[:2]
    if height > width:
        target = (size, size * height // width)
    else:
        target = (size * width // height, size)
    return cv2.resize(image, target, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]
