"""Pixels are MXNet's and cv2's; what is no image is a DataError and nothing else."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.faces import photograph
from tests.support.records import face_image

from mxface.errors import DataError
from mxface.loaders.decode import decode_image, resize_short

JFIF_END = 20  # JPEGs of OpenCV begin with the start marker and 18 bytes of JFIF data
JPEG_KINDS = {
    "plain": (),
    "quality 3": (cv2.IMWRITE_JPEG_QUALITY, 3),
    "444": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "422": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "440": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "411": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
}


def opencv_rgb(encoded: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[:, :, ::-1]


@pytest.mark.parametrize("kind", JPEG_KINDS)
@pytest.mark.parametrize("size", [(112, 112), (97, 113), (1, 1)])
def test_jpeg_pixels_are_those_of_opencv(kind: str, size: tuple[int, int]) -> None:
    encoded = cv2.imencode(".jpg", photograph(1, 1, size), JPEG_KINDS[kind])[1].tobytes()
    decoded = decode_image(encoded)
    assert decoded.shape == (*size, 3)
    assert (decoded == opencv_rgb(encoded)).all()


@pytest.mark.parametrize("extension", [".png", ".bmp", ".ppm"])
def test_other_formats_are_read(extension: str) -> None:
    assert (decode_image(face_image(2, extension=extension)) == photograph(2)).all()


@pytest.mark.parametrize("extension", [".jpg", ".pgm", ".png"])
def test_grey_gets_three_equal_channels(extension: str) -> None:
    grey = cv2.cvtColor(photograph(3), cv2.COLOR_RGB2GRAY)
    decoded = decode_image(cv2.imencode(extension, grey)[1].tobytes())
    assert decoded.shape == (112, 112, 3)
    assert (decoded == decoded[:, :, :1]).all()


def test_result_may_be_changed_and_input_may_be_a_view() -> None:
    encoded = face_image(4)
    decoded = decode_image(memoryview(encoded))
    decoded[:] = 0
    assert (decode_image(encoded) == opencv_rgb(encoded)).all()


def test_exif_orientation_counts_where_exif_comes_first() -> None:
    """As in MXNet; cv2 looks for it behind JFIF data, too."""
    jpeg = face_image(5, (20, 30))
    assert (decode_image(with_exif(jpeg, 2)) == opencv_rgb(with_exif(jpeg, 2))).all()
    assert decode_image(with_exif(jpeg, 2)).shape == (30, 20, 3)
    assert decode_image(with_exif(jpeg, JFIF_END)).shape == (20, 30, 3)


def with_exif(jpeg: bytes, place: int) -> bytes:
    """The JPEG with an EXIF segment at byte `place` that says: turn me by 90 degrees."""
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + orientation + struct.pack(">I", 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:place] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[place:]


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mxnet")
def test_pixels_are_those_of_mxnet() -> None:
    import mxnet as mx

    jpeg = face_image(6, (20, 30))
    for encoded in (jpeg, with_exif(jpeg, 2), with_exif(jpeg, JFIF_END), face_image(8, extension=".png")):
        expected = mx.image.imdecode(encoded).asnumpy()
        assert decode_image(encoded).shape == expected.shape
        assert (decode_image(encoded) == expected).all()


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mxnet")
@pytest.mark.parametrize("size", [(90, 90), (90, 130), (250, 200), (113, 112)])
def test_resize_short_is_that_of_mxnet(size: tuple[int, int]) -> None:
    import mxnet as mx

    image = photograph(9, 1, size)
    expected = mx.image.resize_short(mx.nd.array(image, dtype="uint8"), 112).asnumpy().astype(int)
    resized = resize_short(image, 112)
    assert resized.shape == expected.shape
    assert np.abs(resized - expected).max() <= 1  # another OpenCV rounds some pixels the other way


def test_stray_bytes_do_no_harm() -> None:
    encoded = face_image(10)
    assert (decode_image(encoded[:-2] + bytes(16) + encoded[-2:]) == decode_image(encoded)).all()


@pytest.mark.parametrize("cut", [2, 100, 400])
def test_a_truncated_jpeg_is_damaged(cut: int) -> None:
    with pytest.raises(DataError, match="damaged JPEG image"):
        decode_image(face_image(11)[:-cut])


@pytest.mark.parametrize("encoded", [b"", b"\xff\xd8\xff", b"P5 9999999 9999999 255\n12", b"no image at all"])
def test_no_image_is_a_data_error(encoded: bytes) -> None:
    with pytest.raises(DataError):
        decode_image(encoded)


@given(data=st.data(), extension=st.sampled_from([".jpg", ".png", ".ppm"]))
def test_flipped_bytes_give_an_image_or_a_data_error(data: st.DataObject, extension: str) -> None:
    encoded = bytearray(face_image(12, (24, 24), extension))
    for _ in range(data.draw(st.integers(1, 5))):
        encoded[data.draw(st.integers(20, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_image(bytes(encoded)).dtype == np.uint8
    except DataError:
        pass
