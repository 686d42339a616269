"""Verification sets that 2019's lfw2pack made under Python 3 and a real Python 2.7 pickled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support import ORACLE

from mxface.formats.evalset import read_evalset, write_evalset

SETS = sorted((ORACLE / "runs" / "bin").glob("*.bin"))


def test_the_oracle_has_sets_of_both_pythons(oracle: Path) -> None:
    assert {path.stem[-3:] for path in SETS} == {"py2", "py3"}, f"{oracle}/runs/bin"


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_set_is_read(path: Path) -> None:
    stored = read_evalset(path)
    same = [pair[-1] for pair in json.loads((path.parent / "pairs.json").read_text())]
    assert len(stored.images) == 2 * len(stored.issame)
    assert all(image.startswith(b"\xff\xd8") and image.endswith(b"\xff\xd9") for image in stored.images)
    assert stored.issame.tolist() == [bool(flag) for flag in same]
    assert stored.images == read_evalset(SETS[0]).images


def test_written_set_is_that_of_lfw2pack(oracle: Path, tmp_path: Path) -> None:
    original = oracle / "runs" / "bin" / "lfw60_py3.bin"
    stored = read_evalset(original)
    write_evalset(tmp_path / "again.bin", stored.images, stored.issame.tolist())
    assert (tmp_path / "again.bin").read_bytes() == original.read_bytes()
