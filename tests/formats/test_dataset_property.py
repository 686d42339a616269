from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mxface.errors import FormatError
from mxface.formats.dataset_property import DatasetProperty, read_property, write_property


def test_literal_bytes_and_round_trip(tmp_path: Path) -> None:
    write_property(tmp_path, DatasetProperty(12, 112, 96))
    assert (tmp_path / "property").read_bytes() == b"12,112,96"
    assert read_property(tmp_path) == read_property(tmp_path / "property") == (12, 112, 96)


@pytest.mark.parametrize("text", ["85742,112,112\n", " 85742 , 112,112 \r\n\r\n", "1,2,3\n85742,112,112"])
def test_accepted_spellings(tmp_path: Path, text: str) -> None:
    (tmp_path / "property").write_text(text)
    assert read_property(tmp_path) == (85742, 112, 112)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "12,112", "12,112,112,3", "a,112,112", "12,0,112", "12,112,00", "-1,112,112", "1.5,112,112", "1,2,3\nx"]
    + ["1,112,123456", "1,112,012", "1" * 19 + ",1,1", "1,112,112" + " " * 5000],
)
def test_bad_files(tmp_path: Path, refused: Callable[..., FormatError], text: str) -> None:
    (tmp_path / "property").write_text(text)
    assert "85742,112,112" in refused(lambda path: read_property(path), tmp_path / "property").way_out


def test_no_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_property(tmp_path)
