"""`.lst`: the list of images from which records are packed. One line an image, tab-separated:

    aligned  path  label  [x1 y1 x2 y2  [x of the 5 points, y of the 5 points]]

`aligned` is 0 or 1; the box is whole numbers; the points are eyes, nose and mouth corners, left before right as seen in
the image. Paths may hold blanks, not tabs.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mxface.errors import FormatError

FIELD_COUNTS = (3, 7, 17)
WAY_OUT = "correct the line: aligned TAB path TAB label, then a box of 4 whole numbers, then 10 numbers of landmarks"
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclass(frozen=True, eq=False)
class ListItem:
    """An image to pack: box int32 (4,) as x1 y1 x2 y2; landmark float64 (5, 2), rows of x, y."""

    aligned: bool
    path: str
    label: int
    bbox: npt.NDArray[np.int32] | None = None
    landmark: npt.NDArray[np.float64] | None = None


def read_list(path: str | os.PathLike[str]) -> Iterator[ListItem]:
    """Items in file order; blank lines are skipped."""
    offset = 0
    with Path(path).open("rb") as file:
        for line in file:
            if line.strip():
                yield parse_line(line.decode("utf-8", "surrogateescape"), path, offset)
            offset += len(line)


def parse_line(line: str, source: str | os.PathLike[str] = "<line>", offset: int | None = None) -> ListItem:
    """One item; `source` and `offset` say in errors where the line stands."""
    fields = line.strip().split("\t")

    def error(found: str, expected: str) -> FormatError:
        return FormatError(source, f"{found} in {line[:200]!r}", expected, offset=offset, way_out=WAY_OUT)

    def integers(texts: list[str]) -> list[int]:
        for text in texts:
            if not _INTEGER.fullmatch(text):
                raise error(repr(text), "a whole number")
        return [int(text) for text in texts]

    if len(fields) not in FIELD_COUNTS:
        raise error(f"{len(fields)} fields", "3, 7 or 17 fields between tabs")
    aligned, label = integers([fields[0], fields[2]])
    if aligned not in (0, 1):
        raise error(f"aligned {aligned}", "0 or 1")
    bbox = landmark = None
    if len(fields) > 3:
        box = integers(fields[3:7])
        if max(map(abs, box)) > np.iinfo(np.int32).max:
            raise error(f"box {box}", "32-bit numbers")
        bbox = np.array(box, np.int32)
    if len(fields) > 7:
        try:
            landmark = np.array([float(text) for text in fields[7:]]).reshape(2, 5).T
        except ValueError as exc:
            raise error("text that is not a number", "10 numbers of landmarks") from exc
        if not all(map(math.isfinite, landmark.flat)):
            raise error("landmarks that are not finite", "10 finite numbers")
    return ListItem(bool(aligned), fields[1], label, bbox, landmark)


def format_line(item: ListItem) -> str:
    """The item as a line, without line end; numbers in their shortest form that reads back the same."""
    fields: list[str] = [str(int(item.aligned)), item.path, str(item.label)]
    if item.landmark is not None and item.bbox is None:
        raise FormatError(
            "<line>", f"landmarks without a box for {item.path!r}", "a box; write 0 0 0 0 where there is none"
        )
    if item.bbox is not None:
        fields += [str(int(value)) for value in item.bbox]
    if item.landmark is not None:
        fields += [repr(float(value)) for value in np.asarray(item.landmark, np.float64).T.flat]
    return "\t".join(fields)
