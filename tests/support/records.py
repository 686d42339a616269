"""Made-up faces in folders and record files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.support.faces import encode, photograph

from mxface.data.face_records import face_record_writer
from mxface.formats.recordio import IndexedRecordWriter, IRHeader, pack


def face_image(seed: int, size: tuple[int, int] = (112, 112), extension: str = ".jpg") -> bytes:
    """The encoded photograph number 1 of person `seed`."""
    return encode(photograph(seed, 1, size), extension)


def write_people(root: Path, counts: Mapping[str, int]) -> Path:
    """`root/NAME/NAME_0001.jpg …`, as many pictures a name as `counts` says."""
    for person, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(1, count + 1):
            (root / name / f"{name}_{number:04d}.jpg").write_bytes(encode(photograph(person, number)))
    return root


def pack_people(path: Path, counts: Sequence[int], images: Mapping[int, bytes] | None = None) -> Path:
    """A `.rec` in the face layout with `counts[label]` images a label; `images` replaces those of some keys."""
    key = 0
    with face_record_writer(path) as faces:
        for label, count in enumerate(counts):
            for _ in range(count):
                key += 1
                faces.append(label, (images or {}).get(key, face_image(key)), aligned=True)
    return path


def pack_plain(path: Path, labels: Sequence[float | npt.NDArray[np.float32]], first_key: int = 0) -> Path:
    """A `.rec` of im2rec's kind: every record an image."""
    with IndexedRecordWriter(path, path.with_suffix(".idx")) as records:
        for key, label in enumerate(labels, start=first_key):
            records.write(key, pack(IRHeader(0, label, key, 0), face_image(key)))
    return path
