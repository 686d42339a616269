"""`pairs.txt` of Labelled Faces in the Wild, and the folders it speaks of.

The first line (folds and pairs a fold) is skipped. Then `NAME i j`: two pictures of one person, or `NAME i NAME2 j`:
two people. Fields are parted by tabs, as LFW's are, so that a name may hold blanks, or by any white space. Picture i of
NAME is the file `NAME/NAME_%04d.jpg`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from mxface.errors import FormatError

_log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """Two pictures, each a person's name and a number."""

    first: tuple[str, int]
    second: tuple[str, int]

    @property
    def issame(self) -> bool:
        return self.first[0] == self.second[0]


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    """Every pair of a `pairs.txt`. Raises FormatError on a line of another form."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except UnicodeDecodeError as exc:
        raise FormatError(path, "bytes that are no text", "a pairs.txt in UTF-8", offset=exc.start) from exc
    return [_parse(path, number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]


def _parse(path: str | os.PathLike[str], number: int, line: str) -> Pair:
    by_tabs = [field.strip() for field in line.split("\t") if field.strip()]
    for fields in (by_tabs, line.split()):
        with contextlib.suppress(ValueError):
            name, first, *name_2, second = fields
            (other,) = name_2 or [name]
            return Pair((name, int(first)), (other, int(second)))
    raise FormatError(
        path,
        f"{line.strip()!r} in line {number}",
        "`NAME i j` or `NAME i NAME2 j`",
        way_out="where a name has blanks, part the fields by tabs",
    )


def picture_path(folder: str | os.PathLike[str], picture: tuple[str, int], extension: str = "jpg") -> Path:
    """Where LFW's folder layout keeps a picture."""
    name, number = picture
    return Path(folder, name, f"{name}_{number:04d}.{extension}")


def get_paths(
    folder: str | os.PathLike[str],
    pairs: Iterable[Pair],
    extension: str = "jpg",
    *,
    say: Callable[[str], object] = _log.info,
) -> tuple[list[Path], list[bool]]:
    """Picture paths (2P) and issame (P) of the pairs whose two files exist; `say` is told of those left out."""
    paths: list[Path] = []
    issame: list[bool] = []
    skipped = 0
    for pair in pairs:
        first, second = (picture_path(folder, picture, extension) for picture in (pair.first, pair.second))
        if first.is_file() and second.is_file():
            paths += (first, second)
            issame.append(pair.issame)
        else:
            say(f"not exists {first} {second}")
            skipped += 1
    if skipped:
        say(f"Skipped {skipped} image pairs")
    return paths, issame
