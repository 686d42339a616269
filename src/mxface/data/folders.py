"""Photographs in one folder a person: the order in which every list maker and aligner walks them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mxface.errors import DataError


class FolderImage(NamedTuple):
    """One image: its path (beginning as the root was given), its person's folder name, and the person's number."""

    path: Path
    person: str
    label: int


def list_faces(root: str | os.PathLike[str], *, min_images: int = 0) -> Iterator[FolderImage]:
    """Every image under `root/PERSON/`, persons and images in the order of their names.

    Persons with fewer than `min_images` files are left out and take no label. Any file counts as an image, whatever
    its extension, as in 2019; hidden files (`.DS_Store`) and folders do not.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the folder that holds one folder of images a person")
    label = 0
    for person in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        images = sorted(file for file in person.iterdir() if file.is_file() and not file.name.startswith("."))
        if not images or len(images) < min_images:
            continue
        for image in images:
            yield FolderImage(image, person.name, label)
        label += 1
