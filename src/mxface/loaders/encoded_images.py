"""Labelled, encoded images of a `.rec` by number, in a form that a process which decodes them can be given.

Records are read by `pread`, which is as fast as a memory map (docs/LOG.md) and safer: where a mapped file is cut short,
or its network file system fails, the system kills the process (SIGBUS); of `pread` one gets an error to put in words.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mxface.errors import DataError, FormatError
from mxface.formats.record_header import unpack_first_label
from mxface.formats.recordio import RecordReader, whole_payload

Int64 = npt.NDArray[np.int64]

WAY_OUT = "pack the images again with face2rec2.py"
LARGEST_LABEL = 2.0**31
# Where an .idx leaves records out, what lies between two of its records is no size to read at a stroke.
LARGEST_READ = 1 << 24


class EncodedImages:
    """The images of the file at `path` whose records lie at [offsets[number], ends[number]), (N,) each.

    Safe to share between threads and to pickle (the file is opened anew). The file stays readable while this lives,
    whatever happens to its name. `file`: its descriptor, where it is open already; closed with this.
    """

    def __init__(self, path: str | os.PathLike[str], offsets: Int64, ends: Int64, *, file: int | None = None) -> None:
        self.path = Path(path)
        self.offsets = offsets
        self.ends = ends
        self.file = os.open(self.path, os.O_RDONLY) if file is None else file
        self.close = weakref.finalize(self, os.close, self.file)

    def __len__(self) -> int:
        return len(self.offsets)

    def __reduce__(self) -> tuple[type[EncodedImages], tuple[Path, Int64, Int64]]:
        return EncodedImages, (self.path, self.offsets, self.ends)

    def read(self, number: int) -> tuple[int, memoryview]:
        """Label and encoded image.

        Raises FormatError where the record is damaged, DataError where the file as a whole cannot be read any more.
        """
        offset = int(self.offsets[number])
        try:
            label, image = unpack_first_label(self._payload(offset, int(self.ends[number])), str(self.path))
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read any more, at byte {offset}: {error.strerror}; see to its disk or network "
                "and start again"
            ) from error
        if not abs(label) <= LARGEST_LABEL:  # not a number: not true either
            raise FormatError(self.path, f"label {label}", "the number of a class", offset=offset, way_out=WAY_OUT)
        return int(label), image

    def _payload(self, offset: int, end: int) -> memoryview:
        wanted = min(end - offset, LARGEST_READ)
        record = os.pread(self.file, wanted, offset)
        if len(record) < wanted:
            size = os.fstat(self.file).st_size
            raise DataError(
                f"{self.path}: was cut short while it was read: it has {size} bytes now; put the whole file back and "
                "start again"
            )
        payload = whole_payload(record)
        return RecordReader(self.path).read_at(offset) if payload is None else payload


def record_ends(offsets: Int64, size: int) -> Int64:
    """Where each record ends at the latest: where the next one in the file begins, or at `size`, the file's end."""
    starts = np.sort(np.append(offsets, size))
    return starts[np.minimum(np.searchsorted(starts, offsets, side="right"), len(starts) - 1)]
