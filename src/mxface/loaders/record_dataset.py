"""A `.rec` of faces as a list of encoded images with labels.

Both layouts of 2019 are read. *Faces* (face2rec2 and its kin): record 0 has no body and two labels, the half-open range
of the identity records, whose labels are ranges of image keys. *Plain* (im2rec): every record is an image.
"""

from __future__ import annotations

import contextlib
import logging
import os
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mxface.errors import DataError, FormatError
from mxface.formats.mapped import map_file
from mxface.formats.recordio import MAGIC, MAX_RECORD_BYTES, IndexedRecordReader, IRHeader, unpack
from mxface.loaders.encoded_images import LARGEST_LABEL, WAY_OUT, EncodedImages, record_ends

logger = logging.getLogger(__name__)

LARGEST_EXACT_KEY = 2**24
MAX_KEYS_PER_RECORD = 4


class RecordDataset:
    """Images of `X.rec` (with `X.idx` beside it) by number, 0 to num_images - 1, in the order of their keys.

    `keys` (num_images,) are the images' keys; `identity_ranges` (num_identities, 2) the half-open key ranges of every
    identity that a face layout lists, None in a plain one. Identities with fewer than `images_filter` images are left
    out of the images; labels keep their values, so the number of classes stays. Safe to share between threads.
    """

    def __init__(self, path_imgrec: str | os.PathLike[str], *, images_filter: int = 0) -> None:
        self.path = Path(path_imgrec)
        self._reader = IndexedRecordReader(self.path)
        if len(self._reader) == 0:
            raise DataError(f"{self.path} holds no records; {WAY_OUT}")
        self.layout_label = self._read_layout_label()
        self.identity_ranges: npt.NDArray[np.int64] | None = None
        if self.layout_label is None:
            if images_filter > 0:
                logger.warning("%s lists no identities: images_filter %d has no effect", self.path, images_filter)
            self.keys: npt.NDArray[np.int64] = np.array(self._reader.keys)
            positions = np.arange(len(self.keys))
        else:
            positions_by_key = self._positions_by_key(self.layout_label)
            self.identity_ranges = self._read_identity_ranges(self.layout_label, positions_by_key)
            self.keys = expand_ranges(self.identity_ranges, images_filter)
            positions = self._look_up(self.keys, positions_by_key)
        if len(self.keys) == 0:
            raise DataError(
                f"{self.path}: no identity has {images_filter} or more images; "
                "lower data_images_filter (--images-filter)"
            )
        self.images_filter = images_filter
        ends = record_ends(self._reader.offsets, self._reader.records.size)
        self.images = EncodedImages(self.path, self._reader.offsets[positions], ends[positions])

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_images(self) -> int:
        return len(self.keys)

    @cached_property
    def num_identities(self) -> int:
        """Identities that the layout lists; of a plain layout, the number of different labels (reads every record)."""
        return len(self.images_per_identity())

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of each image, (num_images,). Touches every record's head, once."""
        labels, sound = read_labels(self.path, self.images.offsets)
        for number in np.flatnonzero(~sound):
            labels[number] = self.read(int(number))[0]
        return labels.astype(np.int64)

    def images_per_identity(self) -> npt.NDArray[np.int64]:
        """How many images each identity has here, 0 where `images_filter` left it out; a plain layout's by its labels.

        Of a face layout no record is read; of a plain one every record's head.
        """
        if self.identity_ranges is None:
            return np.unique(self.labels, return_counts=True)[1]
        counts = self.identity_ranges[:, 1] - self.identity_ranges[:, 0]
        return np.where(counts >= self.images_filter, counts, 0)

    def label_range(self) -> tuple[int, int]:
        """The smallest and the largest label: of each identity's first image, as all of its images share one label.

        Reads that many records (85,742 of faces_emore: a second, or as many seeks where the file is not in memory);
        passes over damaged ones. Of a plain layout every record's head is read.
        """
        if self.identity_ranges is None:
            return int(self.labels.min()), int(self.labels.max())
        counts = self.images_per_identity()
        firsts = (np.cumsum(counts) - counts)[counts > 0]
        labels = []
        for number in firsts.tolist():
            with contextlib.suppress(FormatError):
                labels.append(self.read(number)[0])
        if not labels:
            raise DataError(f"{self.path}: the records of all {len(firsts)} identities are damaged; {WAY_OUT}")
        return min(labels), max(labels)

    def read(self, number: int) -> tuple[int, memoryview]:
        """Label and encoded image; see `EncodedImages.read` for the errors."""
        return self.images.read(number)

    def read_encoded(self, number: int) -> memoryview:
        """The encoded image."""
        return self.read(number)[1]

    def name(self, number: int) -> str:
        """The image in words: its key, and the identity that a face layout counts it to."""
        key = int(self.keys[number])
        if self.identity_ranges is None:
            return f"key {key}"
        first, end = self.identity_ranges.T
        return f"key {key} of identity {np.flatnonzero((first <= key) & (key < end))[0]}"

    def describe(self) -> list[str]:
        """The lines that 2019's iterator printed about its file."""
        if self.layout_label is None or self.identity_ranges is None:
            return [f"{self.num_images}"]
        return [f"header0 label {self.layout_label}", f"id2range {len(self.identity_ranges)}", f"{self.num_images}"]

    def close(self) -> None:
        self._reader.close()
        self.images.close()

    def _unpack(self, position: int) -> tuple[IRHeader, memoryview]:
        return unpack(self._reader.read_position(position), str(self.path))

    def _read_layout_label(self) -> npt.NDArray[np.float32] | None:
        """The two labels of record 0 of a face layout; None in a plain one, whose record 0, if any, is an image."""
        positions = np.flatnonzero(self._reader.keys == 0)
        if len(positions) == 0:
            return None
        header, body = self._unpack(int(positions[-1]))
        if header.flag == 0 or len(body):
            return None
        label = np.asarray(header.label)
        if len(label) != 2 or not np.isfinite(label).all() or not 0 < label[0] <= label[1]:
            raise self._layout_error(f"labels {label} of key 0", "the range [first, end) of the identity records")
        if label[1] > MAX_KEYS_PER_RECORD * len(self._reader):
            raise self._layout_error(f"keys to {label[1]:.0f}", f"about as many as its {len(self._reader)} records")
        if label[1] > LARGEST_EXACT_KEY:
            logger.warning("%s: key ranges beyond %d are rounded (they are float32)", self.path, LARGEST_EXACT_KEY)
        return label

    def _positions_by_key(self, layout_label: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The line of the index for each key below the layout's end, the last where there are several; -1 for none."""
        positions = np.full(int(layout_label[1]), -1, np.int64)
        inside = np.flatnonzero(self._reader.keys < len(positions))
        positions[self._reader.keys[inside]] = inside
        return positions

    def _look_up(self, keys: npt.NDArray[np.int64], positions_by_key: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        positions = positions_by_key[keys]
        if (positions < 0).any():
            raise self._layout_error(f"no key {keys[positions < 0][0]} in its .idx", "all keys of its layout")
        return positions

    def _read_identity_ranges(
        self, layout_label: npt.NDArray[np.float32], positions_by_key: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        first, end = (int(value) for value in layout_label)
        ranges = np.empty((end - first, 2))
        for row, position in enumerate(self._look_up(np.arange(first, end), positions_by_key)):
            header, _ = self._unpack(int(position))
            if header.flag != 2:
                raise self._layout_error(f"{header.flag or 1} label(s) of identity key {first + row}", "2 labels")
            ranges[row] = header.label
        counts = ranges[:, 1] - ranges[:, 0]
        # Checked before the keys of the ranges are written out: overlapping ranges could take all memory.
        if not ((ranges >= 0).all() and (ranges <= first).all() and (counts >= 0).all() and counts.sum() < first):
            raise self._layout_error("image ranges that overlap or leave its images", "[first, end) for each identity")
        return ranges.astype(np.int64)

    def _layout_error(self, found: str, expected: str) -> FormatError:
        return FormatError(self.path, found, expected, way_out=WAY_OUT)


def expand_ranges(ranges: npt.NDArray[np.int64], min_count: int = 0) -> npt.NDArray[np.int64]:
    """The numbers of all half-open ranges (K, 2) that hold at least `min_count`, range after range."""
    counts = ranges[:, 1] - ranges[:, 0]
    starts, counts = ranges[counts >= min_count, 0], counts[counts >= min_count]
    offsets = np.cumsum(counts) - counts
    return np.repeat(starts - offsets, counts) + np.arange(counts.sum())


def read_labels(path: Path, offsets: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The first label of the record at each offset, (N,), and whether it stands where an undamaged one does, (N,).

    All at once, from the words of a map: record magic, part and length, then flag, label, two 64-bit ids, labels.
    """
    file = map_file(path)
    words = np.frombuffer(file[: len(file) - len(file) % 4], "<u4")
    magic, length, flag, label = (words[np.minimum(offsets // 4 + word, len(words) - 1)] for word in range(4))
    several = flag > 0
    label[several] = words[np.minimum(offsets[several] // 4 + 8, len(words) - 1)]
    labels = label.view(np.float32)
    fits = (24 + 4 * flag.astype(np.int64) <= length) & (offsets + 8 + length <= len(file))
    return labels, (offsets % 4 == 0) & (magic == MAGIC) & (length <= MAX_RECORD_BYTES) & fits & (
        np.abs(labels) <= LARGEST_LABEL
    )
