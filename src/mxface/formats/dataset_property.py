"""`property`: the text file of a data set's folder, one line `num_classes,height,width`; the last line counts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from mxface.errors import FormatError
from mxface.formats.atomic import atomic_write

FILE_NAME = "property"
MAX_BYTES = 4096
WAY_OUT = "write the number of people and the images' height and width into it, for example 85742,112,112"
_LINE = re.compile(r"\s*(\d{1,18})\s*,\s*([1-9]\d{0,4})\s*,\s*([1-9]\d{0,4})\s*", re.ASCII)


class DatasetProperty(NamedTuple):
    """How many identities a data set has, and the size of its images in pixels."""

    num_classes: int
    height: int
    width: int


def read_property(folder_or_file: str | os.PathLike[str]) -> DatasetProperty:
    """Read a `property` file, or the one of a data set's folder."""
    path = Path(folder_or_file)
    if path.is_dir():
        path = path / FILE_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise FormatError(path, "no such file", "one line num_classes,height,width", way_out=WAY_OUT) from exc
    lines = [line for line in data.decode("latin-1").splitlines() if line.strip()]
    match = _LINE.fullmatch(lines[-1]) if lines and len(data) <= MAX_BYTES else None
    if match is None:
        found = f"{lines[-1][:80]!r}" if lines else "no line"
        raise FormatError(path, found, "one line num_classes,height,width", way_out=WAY_OUT)
    return DatasetProperty(*map(int, match.groups()))


def write_property(path: str | os.PathLike[str], prop: DatasetProperty) -> None:
    """Write the file `path` (or `path/property` where that is a folder), without a newline, as 2019 did."""
    target = Path(path)
    with atomic_write(target / FILE_NAME if target.is_dir() else target, "w") as file:
        file.write(f"{prop.num_classes},{prop.height},{prop.width}")
