"""Decoding and verifying a set of pairs, against the protocol done item by item."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.faces import encode, encoded_pairs, photograph

from mxface.errors import DataError, FormatError
from mxface.eval.protocol import PairSet, decode_pair_set, load_pair_set, pixel_embedder, verify
from mxface.eval.roc import evaluate
from mxface.formats.evalset import write_evalset
from mxface.loaders.decode import decode_image, resize_short

PAIRS = 24
WEIGHTS = np.random.default_rng(7).normal(size=(112 * 112 * 3, 12)).astype(np.float32)


def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) @ WEIGHTS / 1000


@pytest.fixture(scope="module")
def files() -> tuple[list[bytes], list[bool]]:
    return encoded_pairs(PAIRS)


@pytest.fixture(scope="module")
def pairs(files: tuple[list[bytes], list[bool]]) -> PairSet:
    return decode_pair_set("people", *files, (112, 112))


def test_figures_equal_the_protocol_done_item_by_item(files: tuple[list[bytes], list[bool]], pairs: PairSet) -> None:
    views = []
    for mirror in (1, -1):
        raw = [embed(decode_image(file)[np.newaxis, :, ::mirror].copy())[0] for file in files[0]]
        views.append(np.array(raw, np.float64))
    plain, mirrored = views
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (plain, plain + mirrored)]

    result = verify(embed, pairs, batch_size=7, nrof_folds=4)
    assert result.xnorm == pytest.approx(np.linalg.norm(np.concatenate(views), axis=1).mean(), rel=1e-6)
    np.testing.assert_allclose(result.embeddings, unit[1], atol=1e-5)
    expected = [evaluate(rows, files[1], 4) for rows in unit]
    assert (result.acc1, result.std1) == (expected[0].mean, expected[0].std)
    assert (result.acc2, result.std2) == (expected[1].mean, expected[1].std)


def test_a_picture_that_stands_in_many_pairs_is_embedded_once(pairs: PairSet) -> None:
    batches: list[int] = []

    def counting(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append(len(images))
        return embed(images)

    verify(counting, pairs, batch_size=16, nrof_folds=2)
    distinct = PAIRS * 3 // 2
    assert len(pairs.images) == distinct
    assert sum(batches) == 2 * distinct
    assert max(batches) == 16


def test_the_embedder_gets_contiguous_rgb(pairs: PairSet) -> None:
    def looking(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert images.flags.c_contiguous
        assert images.dtype == np.uint8
        assert images.shape[1:] == (112, 112, 3)
        return embed(images)

    verify(looking, pairs, nrof_folds=2)


def test_more_folds_than_pairs_and_damaged_models_are_refused(pairs: PairSet) -> None:
    with pytest.raises(DataError, match="24 pairs cannot be split into 25 folds"):
        verify(embed, pairs, nrof_folds=25)
    with pytest.raises(DataError, match="36 of 36 embeddings are not finite"):
        verify(lambda images: np.full((len(images), 4), np.nan), pairs)


def test_a_bin_is_loaded_and_told_of(tmp_path: Path, files: tuple[list[bytes], list[bool]]) -> None:
    write_evalset(tmp_path / "people.bin", *files)
    said: list[str] = []
    pairs = load_pair_set(tmp_path / "people.bin", (112, 112), say=said.append)
    assert said == ["loading bin 0", f"({2 * PAIRS}, 3, 112, 112)"]
    assert pairs.name == "people"
    first, second = pairs.pair(1)
    np.testing.assert_array_equal(first, decode_image(files[0][2]))
    np.testing.assert_array_equal(second, decode_image(files[0][3]))


def test_a_share_of_the_pictures_is_decoded_alone(
    files: tuple[list[bytes], list[bool]], pairs: PairSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def counting(picture: bytes) -> NDArray[np.uint8]:
        decoded.append(picture)
        return decode_image(picture)

    monkeypatch.setattr("mxface.eval.protocol.decode_image", counting)
    own = range(10, 17)
    part = decode_pair_set("people", *files, (112, 112), share=lambda _total: own)
    np.testing.assert_array_equal(part.images, pairs.images[10:17])
    np.testing.assert_array_equal(part.items, pairs.items)
    assert part.num_pictures == pairs.num_pictures == len(pairs.images)
    assert len(decoded) == len(own)


def test_told_to_the_log_unless_asked_otherwise(
    files: tuple[list[bytes], list[bool]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mxface.eval"):
        decode_pair_set("people", *files, (112, 112))
    assert "loading bin 0" in caplog.messages


def test_square_pictures_are_scaled_to_the_square_that_is_asked_for() -> None:
    large = photograph(1, size=(160, 160))
    pairs = decode_pair_set("large", [encode(large, ".png"), encode(photograph(2))], [False], (112, 112))
    np.testing.assert_array_equal(pairs.images[0], resize_short(large, 112))


def test_oblong_pictures_are_taken_as_they_are() -> None:
    files, issame = encoded_pairs(4, size=(112, 96))
    assert decode_pair_set("oblong", files, issame, (112, 96)).images.shape == (6, 112, 96, 3)


@pytest.mark.parametrize("image_size", [(112, 112), (96, 112)])
def test_a_picture_that_does_not_fit_is_named(image_size: tuple[int, int]) -> None:
    files = [encode(photograph(1, size=image_size)), encode(photograph(2, size=(112, 96)))]
    with pytest.raises(DataError, match="odd: picture 1: 112x96 pixels do not fit"):
        decode_pair_set("odd", files, [True], image_size)


def test_a_picture_that_cannot_be_decoded_is_named() -> None:
    files, issame = encoded_pairs(2)
    files[3] = files[3][:200]
    with pytest.raises(DataError, match="torn: picture 3: "):
        decode_pair_set("torn", files, issame, (112, 112))


def test_a_set_without_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="empty: no pair"):
        decode_pair_set("empty", [], [], (112, 112))


def test_a_file_that_is_no_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lfw.bin").write_bytes(b"no pickle")
    with pytest.raises(FormatError, match=r"lfw\.bin"):
        load_pair_set(tmp_path / "lfw.bin", (112, 112))


def test_plain_pixels_tell_clear_pictures_apart(pairs: PairSet) -> None:
    result = verify(pixel_embedder(), pairs, nrof_folds=1)
    assert result.acc2 > 0.9
    # Brightness is no identity: a picture and its brighter copy are nearly one.
    dark, bright = pixel_embedder()(np.stack([photograph(1) // 2, photograph(1) // 2 + 100]))
    assert np.linalg.norm(dark - bright) < 0.01 * np.linalg.norm(dark)
