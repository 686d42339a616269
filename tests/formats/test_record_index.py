from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxface.errors import FormatError
from mxface.formats.rebuild_index import main
from mxface.formats.record_index import read_index, write_index
from mxface.formats.recordio import IndexedRecordReader, IRHeader, RecordWriter, pack

NUMBERS = st.integers(0, 2**62)


def test_literal_bytes(tmp_path: Path) -> None:
    write_index(tmp_path / "a.idx", [1, 0], np.array([0, 2892]))
    assert (tmp_path / "a.idx").read_bytes() == b"1\t0\n0\t2892\n"


@given(st.lists(st.tuples(NUMBERS, NUMBERS)))
@settings(deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.idx"
    write_index(path, [key for key, _ in pairs], [offset for _, offset in pairs])
    keys, offsets = read_index(path)
    assert keys.dtype == offsets.dtype == np.int64
    assert list(zip(keys.tolist(), offsets.tolist(), strict=True)) == pairs


def test_more_lines_than_a_block(tmp_path: Path) -> None:
    keys = np.arange(150_000)
    write_index(tmp_path / "a.idx", keys, keys * 4)
    read_keys, read_offsets = read_index(tmp_path / "a.idx")
    np.testing.assert_array_equal(read_keys, keys)
    np.testing.assert_array_equal(read_offsets, keys * 4)


@pytest.mark.parametrize("text", ["1\t2\n3\t4", "1\t2\r\n3\t4\r\n", "\n1\t2\n\n3\t4\n\n", " 1\t2 \n3\t 4\n"])
def test_accepted_spellings(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.idx").write_bytes(text.encode())
    keys, offsets = read_index(tmp_path / "a.idx")
    assert (keys.tolist(), offsets.tolist()) == ([1, 3], [2, 4])


@pytest.mark.parametrize("text", ["", "\n", "\r\n\n"])
def test_no_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.idx").write_bytes(text.encode())
    assert [array.tolist() for array in read_index(tmp_path / "a.idx")] == [[], []]


@pytest.mark.parametrize(
    "line",
    [
        "3",
        "3\t",
        "\t4",
        "3 4",
        "3\t4\t5",
        "a\t4",
        "3.5\t4",
        "3.0\t4",
        "3\t-4",
        "-3\t4",
        "3_0\t4",
        "3\t99999999999999999999",
        "3\t4\0",
        "\u0663\t4",
        "# 3\t4",
    ],
)
@pytest.mark.parametrize("before", ["", "1\t2\n", "1\t2\n\n2\t3\n"])
def test_bad_lines_are_named(tmp_path: Path, refused: Callable[..., FormatError], line: str, before: str) -> None:
    path = tmp_path / "bad.idx"
    path.write_text(before + line + "\n5\t6\n", encoding="utf-8")
    error = refused(read_index, path, f"line {before.count(chr(10)) + 1} ")
    assert error.offset == len(before)
    assert "rebuild_index" in error.way_out


def test_the_command_writes_the_index(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with RecordWriter(tmp_path / "a.rec") as writer:
        for id_ in (4, 2):
            writer.write(pack(IRHeader(0, 1.0, id_, 0), b"jpeg"))
    assert main([str(tmp_path / "a.rec")]) == 0
    assert (tmp_path / "a.idx").read_bytes() == b"4\t0\n2\t36\n"
    with IndexedRecordReader(tmp_path / "a.rec") as reader:
        assert len(reader) == 2


def test_the_command_refuses_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.rec").write_bytes(bytes(16))
    assert main([str(tmp_path / "a.rec")]) == 1
    assert "a.rec: byte 0: found magic 0x0" in capsys.readouterr().err
    assert not (tmp_path / "a.idx").exists()


MEASURE = """
import re, sys, time
from pathlib import Path
import numpy as np
from mxface.formats.record_index import read_index
def peak_megabytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
read_index(sys.argv[1])
before, start = peak_megabytes(), time.process_time()
keys, offsets = read_index(sys.argv[2])
print(len(keys), int(offsets[-1]), time.process_time() - start, peak_megabytes() - before)
"""


@pytest.mark.slow
def test_millions_of_lines(tmp_path: Path) -> None:
    """5.8 million lines, MS1M's size: under a second of a core and 150 MB."""
    count = 5_822_653
    write_index(tmp_path / "small.idx", [0], [0])
    write_index(tmp_path / "large.idx", np.arange(count), np.arange(count) * 10_000)
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "small.idx", tmp_path / "large.idx"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    lines, last, seconds, megabytes = map(float, output.split())
    assert (lines, last) == (count, (count - 1) * 10_000)
    assert seconds < 1.0
    assert megabytes < 150
