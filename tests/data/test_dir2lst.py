"""Folders of people, and the list of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.records import write_people

from mxface.data.dir2lst import main
from mxface.data.folders import list_faces
from mxface.errors import DataError
from mxface.formats.lst import read_list


def test_persons_and_images_in_order_labels_only_for_those_kept(tmp_path: Path) -> None:
    write_people(tmp_path, {"zoe": 2, "ann": 3, "Bob": 1})
    faces = list(list_faces(tmp_path, min_images=2))
    assert [(face.person, face.label, face.path.name) for face in faces] == [
        ("ann", 0, "ann_0001.jpg"),
        ("ann", 0, "ann_0002.jpg"),
        ("ann", 0, "ann_0003.jpg"),
        ("zoe", 1, "zoe_0001.jpg"),
        ("zoe", 1, "zoe_0002.jpg"),
    ]
    assert [face.person for face in list_faces(tmp_path)] == ["Bob", "ann", "ann", "ann", "zoe", "zoe"]


def test_any_file_is_an_image_but_not_hidden_ones_or_folders(tmp_path: Path) -> None:
    write_people(tmp_path, {"ann": 1})
    (tmp_path / "ann" / "second.WEBP").touch()
    (tmp_path / "ann" / ".DS_Store").touch()
    (tmp_path / "ann" / "sub").mkdir()
    (tmp_path / "readme.txt").touch()
    (tmp_path / "nobody").mkdir()
    assert [face.path.name for face in list_faces(tmp_path)] == ["ann_0001.jpg", "second.WEBP"]


def test_prints_a_list_that_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_people(tmp_path / "with blank", {"ann": 2, "bob": 1, "eve": 2})
    assert main([str(tmp_path / "with blank")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"1\t{tmp_path}/with blank/ann/ann_0001.jpg\t0"
    (tmp_path / "train.lst").write_text(out)
    items = list(read_list(tmp_path / "train.lst"))
    assert [item.label for item in items] == [0, 0, 1, 1]
    assert all(item.aligned and Path(item.path).is_file() for item in items)


def test_nobody_with_two_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_people(tmp_path, {"ann": 1})
    assert main([str(tmp_path)]) == 1
    assert "no folder in" in capsys.readouterr().err
    assert main([str(tmp_path / "missing")]) == 1
    with pytest.raises(DataError, match="is no folder"):
        next(list_faces(tmp_path / "missing"))
