"""Batches: the same however they are made, in 2019's shapes, around damaged records."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records import face_image, pack_people

from mxface.errors import ConfigError, DataError
from mxface.loaders import Batch, RecordDataset, TrainLoader
from mxface.loaders.decode import decode_image, resize_short
from mxface.loaders.epoch import epoch_order

COUNTS = [4, 3, 6, 1, 9]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> RecordDataset:
    return RecordDataset(pack_people(tmp_path_factory.mktemp("records") / "train.rec", COUNTS))


def equal(ours: list[Batch], theirs: list[Batch]) -> bool:
    """The same batches, bit for bit."""
    return len(ours) == len(theirs) and all(
        a.data.dtype == b.data.dtype
        and a.data.tobytes() == b.data.tobytes()
        and a.label.tolist() == b.label.tolist()
        and a.index.tolist() == b.index.tolist()
        for a, b in zip(ours, theirs, strict=True)
    )


def test_batches_are_the_images_in_the_epochs_order(dataset: RecordDataset) -> None:
    loader = TrainLoader(dataset, batch_size=5, seed=3, rand_mirror=False)
    batches = list(loader.epoch(2))
    assert loader.batches_per_epoch == len(batches) == 4  # 23 images; the last 3 are dropped
    order = epoch_order(3, 2, 23)[:20].reshape(4, 5)
    for batch, numbers in zip(batches, order, strict=True):
        assert batch.index.tolist() == numbers.tolist()
        assert batch.label.tolist() == dataset.labels[numbers].tolist()
        assert (batch.label.dtype, batch.index.dtype) == (np.int64, np.int64)
        assert batch.data.dtype == np.uint8
        for pixels, number in zip(batch.data, numbers, strict=True):
            assert (pixels == decode_image(face_image(number + 1))).all()


AUGMENTATIONS: list[dict[str, int]] = [{}, {"color": 2, "cutoff": 40}, {"cutoff": 40}]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 50), threads=st.integers(1, 4), data=st.data())
def test_threads_ranks_and_batch_sizes_do_not_show(
    dataset: RecordDataset, augmentation: dict[str, int], seed: int, epoch: int, threads: int, data: st.DataObject
) -> None:
    """Whoever loads the image at a position of the epoch, in a batch of whatever size, gives the same pixels."""
    (whole,) = TrainLoader(dataset, batch_size=23, seed=seed, threads=1, **augmentation).epoch(epoch)
    num_ranks = data.draw(st.integers(1, 6))
    batch_size = num_ranks * data.draw(st.integers(1, 23 // num_ranks))
    start_image = data.draw(st.integers(0, 23))
    ranks = [
        list(
            TrainLoader(
                dataset,
                batch_size=batch_size,
                rank=rank,
                num_ranks=num_ranks,
                seed=seed,
                threads=threads,
                **augmentation,
            ).epoch(epoch, start_image)
        )
        for rank in range(num_ranks)
    ]
    num_batches = (23 - start_image) // batch_size
    assert [len(batches) for batches in ranks] == [num_batches] * num_ranks
    for number in range(num_batches):
        rows = slice(start_image + number * batch_size, start_image + (number + 1) * batch_size)
        expected = Batch(whole.data[rows], whole.label[rows], whole.index[rows])
        assert equal([joined([batches[number] for batches in ranks])], [expected])


def joined(parts: list[Batch]) -> Batch:
    """The rows of all parts, one after the other."""
    return Batch(
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.index for part in parts]),
    )


def test_epochs_and_seeds_differ(dataset: RecordDataset) -> None:
    epochs = [
        list(TrainLoader(dataset, batch_size=8, seed=seed).epoch(epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert not equal(epochs[0], epochs[1])
    assert not equal(epochs[0], epochs[2])


def test_mirrors_half_of_the_images(dataset: RecordDataset) -> None:
    loader = TrainLoader(dataset, batch_size=10)
    mirrored = []
    for epoch in range(10):
        for batch in loader.epoch(epoch):
            for pixels, number in zip(batch.data, batch.index, strict=True):
                image = decode_image(face_image(number + 1))
                mirrored.append((pixels == image[:, ::-1]).all())
                assert mirrored[-1] or (pixels == image).all()
    assert 70 < sum(mirrored) < 130  # of 200


def test_colour_jitter_gives_float32(dataset: RecordDataset) -> None:
    batch = next(TrainLoader(dataset, batch_size=23, color=1).epoch(0))
    assert batch.data.dtype == np.float32
    assert np.abs(batch.data - np.round(batch.data)).max() > 0.1


def test_stopping_early_leaves_no_threads_busy(dataset: RecordDataset) -> None:
    batches = TrainLoader(dataset, batch_size=2, threads=3).epoch(0)
    next(batches)
    batches.close()
    assert list(batches) == []


def test_other_heights_are_scaled_by_the_short_side(tmp_path: Path) -> None:
    path = pack_people(tmp_path / "train.rec", [2], {1: face_image(1, (90, 90)), 2: face_image(2, (224, 224))})
    (batch,) = TrainLoader(RecordDataset(path), batch_size=2, rand_mirror=False).epoch(0)
    for pixels, number in zip(batch.data, batch.index, strict=True):
        size = (90, 90) if number == 0 else (224, 224)
        assert (pixels == resize_short(decode_image(face_image(number + 1, size)), 112)).all()


def damaged_dataset(tmp_path: Path) -> RecordDataset:
    """23 images, of which keys 5 and 6 cannot be decoded and key 9 has the wrong shape."""
    images = {5: face_image(5)[:-300], 6: b"", 9: face_image(9, (112, 100))}
    return RecordDataset(pack_people(tmp_path / "train.rec", COUNTS, images))


def test_damaged_records_give_way_to_the_next_good_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = damaged_dataset(tmp_path)
    loader = TrainLoader(dataset, batch_size=23, damaged_limit=0.2)
    with caplog.at_level(logging.WARNING):
        (batch,) = loader.epoch(0)
    order = epoch_order(0, 0, 23).tolist()
    damaged = {4, 5, 8}
    expected = [next(n for n in (order + order)[position:] if n not in damaged) for position in range(23)]
    assert batch.index.tolist() == expected
    assert batch.label.tolist() == dataset.labels[expected].tolist()
    assert set(loader.damaged) == damaged
    assert "key 5 of identity 1 is damaged and skipped: a damaged JPEG image" in caplog.text
    assert "key 9 of identity 2 is damaged and skipped: an image of 100x112 where 112x112 is wanted" in caplog.text
    caplog.clear()
    list(loader.epoch(1))
    assert caplog.text == ""  # said once


@pytest.mark.parametrize("threads", [1, 4])
def test_too_many_damaged_records_stop_the_run(tmp_path: Path, threads: int) -> None:
    loader = TrainLoader(damaged_dataset(tmp_path), batch_size=1, damaged_limit=0.1, threads=threads)
    order = epoch_order(0, 0, 23).tolist()
    last_damaged = max(order.index(number) for number in (4, 5, 8))
    batches = loader.epoch(0)
    for _ in range(last_damaged):
        next(batches)
    with pytest.raises(DataError, match="3 of 23 images are damaged, more than the 2 put up with"):
        next(batches)


def test_nothing_but_damage(tmp_path: Path) -> None:
    path = pack_people(tmp_path / "train.rec", [5], dict.fromkeys(range(1, 6), b"no image"))
    with pytest.raises(DataError, match="1 of 5 images are damaged, more than the 0 put up with"):
        next(TrainLoader(RecordDataset(path), batch_size=5).epoch(0))
    with pytest.raises(DataError, match="5 of 5 images are damaged"):
        next(TrainLoader(RecordDataset(path), batch_size=5, damaged_limit=1.0).epoch(0))


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": 0},
        {"batch_size": 24},
        {"num_ranks": 3},
        {"threads": 0},
        {"image_shape": (112, 112, 1)},
        {"color": -1},
    ],
)
def test_settings_that_cannot_work(dataset: RecordDataset, setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TrainLoader(dataset, **{"batch_size": 4, **setting})  # type: ignore[arg-type]
