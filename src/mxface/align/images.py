"""Reading and writing the pictures that the alignment and deploy commands handle: uint8 (H, W, 3), BGR."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mxface.errors import DataError
from mxface.formats.atomic import atomic_write

Image = NDArray[np.uint8]


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture as BGR; grey becomes three equal channels, transparency is dropped.

    Raises DataError where the file is missing or OpenCV cannot decode it.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as exc:
        raise DataError(f"{os.fspath(path)}: {exc.strerror}; give the path of an image file") from exc
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise DataError(f"{os.fspath(path)}: not an image that OpenCV can read ({data.size} bytes)")
    return np.asarray(image, np.uint8)


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Write a BGR picture in the format of the file name's extension (JPEG at quality 95).

    Raises DataError for an extension that is no picture's.
    """
    suffix = Path(path).suffix.lower()
    try:
        # A portable greymap has one channel.
        _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if suffix == ".pgm" else image)
    except cv2.error as exc:
        message = f"{os.fspath(path)}: a picture cannot be written as {suffix!r}; use .jpg or .png"
        raise DataError(message) from exc
    with atomic_write(path) as file:
        file.write(encoded.tobytes())
