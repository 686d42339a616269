from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxface.errors import FormatError
from mxface.formats.lst import ListItem, format_line, parse_line, read_list

POINTS = "\t41.371\t67.091\t49.115\t42.905\t60.851\t50.367\t49.832\t60.494\t74.897\t68.433"
TEXT = st.text(
    st.characters(exclude_characters="\t\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"])
)
COORDINATES = st.floats(allow_nan=False, allow_infinity=False)


def test_line_of_an_aligned_image() -> None:
    item = parse_line("1\timages/a b.jpg\t12\n")
    assert (item.aligned, item.path, item.label) == (True, "images/a b.jpg", 12)
    assert item.bbox is None and item.landmark is None
    assert format_line(item) == "1\timages/a b.jpg\t12"


def test_line_with_box_and_points() -> None:
    line = "0\tx.png\t3\t33\t-41\t72\t79" + POINTS
    item = parse_line(line)
    assert (item.aligned, item.path, item.label) == (False, "x.png", 3)
    assert item.bbox is not None and item.landmark is not None
    assert item.bbox.dtype == np.int32
    assert item.bbox.tolist() == [33, -41, 72, 79]
    assert item.landmark.shape == (5, 2)
    assert item.landmark[0].tolist() == [41.371, 50.367]  # first x, first y
    assert item.landmark[4].tolist() == [60.851, 68.433]
    assert format_line(item) == line


def test_line_with_a_box_only() -> None:
    item = parse_line("0\tx.png\t3\t1\t2\t3\t4")
    assert item.bbox is not None and item.bbox.tolist() == [1, 2, 3, 4]
    assert item.landmark is None
    assert format_line(item) == "0\tx.png\t3\t1\t2\t3\t4"


@given(
    st.booleans(),
    TEXT.filter(lambda text: text == text.strip() and text),
    st.integers(-(10**17), 10**17),
    st.none() | st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=4, max_size=4),
    st.none() | st.lists(COORDINATES, min_size=10, max_size=10),
)
def test_round_trip(aligned: bool, path: str, label: int, box: list[int] | None, points: list[float] | None) -> None:
    bbox = None if box is None else np.array(box, np.int32)
    landmark = None if points is None or box is None else np.array(points).reshape(5, 2)
    item = parse_line(format_line(ListItem(aligned, path, label, bbox, landmark)))
    assert (item.aligned, item.path, item.label) == (aligned, path, label)
    for read, given_array in ((item.bbox, bbox), (item.landmark, landmark)):
        assert (read is None) == (given_array is None)
        if read is not None:
            np.testing.assert_array_equal(read, given_array)


def test_read_list_skips_blank_lines_and_keeps_odd_file_names(tmp_path: Path) -> None:
    path = tmp_path / "train.lst"
    path.write_bytes(b"1\ta.jpg\t0\r\n\n1\t\xff\xe9.jpg\t1\n")
    items = list(read_list(path))
    assert [item.label for item in items] == [0, 1]
    assert items[1].path.encode("utf-8", "surrogateescape") == b"\xff\xe9.jpg"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1\ta.jpg", "2 fields"),
        ("1 a.jpg 0", "1 fields"),
        ("1\ta.jpg\t0\t1\t2\t3", "6 fields"),
        ("0\ta.jpg\t0\t1\t2\t3\t4\t5", "8 fields"),
        ("0\ta.jpg\t0\t1\t2\t3\t4" + POINTS + "\t5", "18 fields"),
        ("2\ta.jpg\t0", "aligned 2"),
        ("x\ta.jpg\t0", "'x'"),
        ("1\ta.jpg\t0.5", "'0.5'"),
        ("1\ta.jpg\t1_0", "'1_0'"),
        ("0\ta.jpg\t0\t12.5\t2\t3\t4", "'12.5'"),
        ("0\ta.jpg\t0\t1\t2\t3\t4294967296", "box"),
        ("0\ta.jpg\t0\t1\t2\t3\t4" + POINTS.replace("41.371", "x"), "not a number"),
        ("0\ta.jpg\t0\t1\t2\t3\t4" + POINTS.replace("41.371", "nan"), "not finite"),
        ("0\ta.jpg\t0\t1\t2\t3\t4" + POINTS.replace("41.371", "1e999"), "not finite"),
    ],
)
def test_bad_lines(tmp_path: Path, refused: Callable[..., FormatError], line: str, found: str) -> None:
    path = tmp_path / "bad.lst"
    path.write_text("1\tgood.jpg\t0\n" + line + "\n")
    error = refused(lambda path: list(read_list(path)), path, found)
    assert error.offset == 13
    assert "aligned TAB path" in error.way_out


def test_points_without_a_box_are_refused() -> None:
    with pytest.raises(FormatError, match="0 0 0 0"):
        format_line(ListItem(False, "a.jpg", 0, None, np.zeros((5, 2))))
