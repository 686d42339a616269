"""The README's map of the tree names every file, and every relative link leads somewhere."""

from __future__ import annotations

import re

import pytest
from tests.support import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
PACKAGE = REPOSITORY / "src" / "mxface"
ONE_LINE_FOLDERS = ("ops", "lower", "export/operators")  # an operator a file: the map says so once
FILES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and path.parent.relative_to(PACKAGE).as_posix() not in ONE_LINE_FOLDERS
)
DOOR_FOLDERS = ("recognition", "recognition/common", "deploy", "src/data", "src/align", "src/eval")
DOORS = sorted(path.name for folder in DOOR_FOLDERS for path in (REPOSITORY / folder).glob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_the_map_names_each_module(file: str) -> None:
    folder, _, name = file.rpartition("/")
    start = README.index("\nsrc/mxface/\n")
    if folder:
        start = README.index(f"  {folder.rsplit('/', 1)[-1]}/ ", start)
    assert name in README[start : README.index("```", start)]


@pytest.mark.parametrize("door", DOORS)
def test_the_map_names_each_door(door: str) -> None:
    assert door in README[README.index("\n## What lies where") : README.index("\nsrc/mxface/\n")]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (REPOSITORY / target).exists()
