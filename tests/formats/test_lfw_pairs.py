"""pairs.txt: both kinds of line, bad lines, and the files it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxface.errors import FormatError
from mxface.formats.lfw_pairs import Pair, get_paths, read_pairs


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.txt"
    path.write_text(text, "utf-8")
    return path


def test_both_kinds_of_line(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, "10\t300\nAda\t1\t4\nAda\t1\tGrace_Hopper\t12\n\n"))
    assert pairs == [Pair(("Ada", 1), ("Ada", 4)), Pair(("Ada", 1), ("Grace_Hopper", 12))]
    assert [pair.issame for pair in pairs] == [True, False]


def test_names_with_blanks_between_tabs(tmp_path: Path) -> None:
    text = "10\t300\nAda Lovelace\t1\t4\n Ada Lovelace\t\t1\tGrace B. Hopper\t12 \nAda 1\tBob\t2\n"
    assert read_pairs(write(tmp_path, text)) == [
        Pair(("Ada Lovelace", 1), ("Ada Lovelace", 4)),
        Pair(("Ada Lovelace", 1), ("Grace B. Hopper", 12)),
        Pair(("Ada", 1), ("Bob", 2)),  # tabs and blanks, as 2019 read it
    ]
    with pytest.raises(
        FormatError, match=r"'Ada Lovelace 1 2' in line 2.* where a name has blanks, part the fields by tabs"
    ):
        read_pairs(write(tmp_path, "1 2\nAda Lovelace 1 2\n"))


@pytest.mark.parametrize("line", ["Ada", "Ada 1", "Ada one 2", "Ada 1 Bob two", "Ada 1 Bob 2 3"])
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(FormatError, match=f"{line}' in line 3"):
        read_pairs(write(tmp_path, f"1 2\nAda 1 2\n{line}\n"))


def test_pairs_with_a_missing_file_are_left_out_and_told(tmp_path: Path) -> None:
    for name in ("Ada/Ada_0001.jpg", "Ada/Ada_0002.jpg", "Bob/Bob_0001.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    told: list[str] = []
    pairs = read_pairs(write(tmp_path, "1 2\nAda 1 2\nAda 1 3\nAda 2 Bob 1\nAda 2 Bob 2\n"))
    paths, issame = get_paths(tmp_path, pairs, say=told.append)
    assert [path.name for path in paths] == ["Ada_0001.jpg", "Ada_0002.jpg", "Ada_0002.jpg", "Bob_0001.jpg"]
    assert issame == [True, False]
    assert told[0] == f"not exists {tmp_path}/Ada/Ada_0001.jpg {tmp_path}/Ada/Ada_0003.jpg"
    assert told[-1] == "Skipped 2 image pairs"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes(b"10\t300\n\x80\x02")
    with pytest.raises(FormatError, match=r"pairs\.txt: byte 7: found bytes that are no text"):
        read_pairs(path)
