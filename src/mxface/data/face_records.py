"""Writer of the face layout of a `.rec`: images by identity, then the ranges that say whose they are.

Keys 1..N are images, the images of an identity side by side. Key 0, with an empty body, has the label [N+1, N+1+K]: the
half-open range of the identity records N+1..N+K, whose labels [first, end) are ranges of image keys. In the file, key 0
comes after the images. Ranges are stored as float32, which counts exactly up to 2**24.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mxface.errors import DataError
from mxface.formats.recordio import IndexedRecordWriter, IRHeader, pack
from mxface.loaders.record_dataset import LARGEST_EXACT_KEY


@contextmanager
def face_record_writer(rec_path: str | os.PathLike[str]) -> Iterator[FaceRecords]:
    """Open `X.rec` and `X.idx` for faces; both appear when the block ends well, neither when it raises."""
    path = Path(rec_path)
    with IndexedRecordWriter(path, path.with_suffix(".idx")) as records:
        faces = FaceRecords(records)
        yield faces
        faces.write_layout()


class FaceRecords:
    """Faces of one record file; a new identity begins wherever the label changes."""

    def __init__(self, records: IndexedRecordWriter) -> None:
        self._records = records
        self._first_keys: list[int] = []
        self._labels: set[int] = set()
        self._label: int | None = None
        self.num_images = 0
        self.repeated_labels: list[int] = []

    @property
    def num_identities(self) -> int:
        return len(self._first_keys)

    @property
    def max_label(self) -> int:
        return max(self._labels, default=-1)

    def append(self, label: int, image: bytes, *, aligned: bool | None = None) -> None:
        """Add an encoded image; its label is stored as `label`, or as face2rec2's [label, aligned] if that is given.

        A label that comes back after others makes a second identity, as in 2019, and is noted in `repeated_labels`.
        """
        self.num_images += 1
        if label != self._label:
            if label in self._labels:
                self.repeated_labels.append(label)
            self._first_keys.append(self.num_images)
            self._labels.add(label)
            self._label = label
        if self.num_images + self.num_identities + 1 > LARGEST_EXACT_KEY:
            raise DataError(
                f"more than {LARGEST_EXACT_KEY:,} records: the layout stores key ranges as float32, which would not be "
                "exact; split the list into several"
            )
        stored = float(label) if aligned is None else np.array([label, aligned], dtype=np.float32)
        self._write(self.num_images, stored, image)

    def write_layout(self) -> None:
        """Write key 0 and the identity records."""
        if self.num_images == 0:
            raise DataError("nothing to pack: the list is empty, or none of its images can be used")
        ends = [*self._first_keys[1:], self.num_images + 1]
        first_identity = self.num_images + 1
        self._write(0, np.array([first_identity, first_identity + self.num_identities], dtype=np.float32), b"")
        for key, image_range in enumerate(zip(self._first_keys, ends, strict=True), start=first_identity):
            self._write(key, np.array(image_range, dtype=np.float32), b"")

    def _write(self, key: int, label: float | npt.NDArray[np.float32], payload: bytes) -> None:
        self._records.write(key, pack(IRHeader(0, label, key, 0), payload))
