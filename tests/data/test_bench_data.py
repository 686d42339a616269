"""What bounds a machine: the verdict on given rates, and a short real run."""

from __future__ import annotations

import itertools
import json
import logging
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records import face_image, pack_people

from mxface.data.bench_data import Rate, judge, main, numbers_up_to, rate
from mxface.formats.dataset_property import DatasetProperty, write_property


def rates(
    *, reading: float = 10**6, memory: float = 10**6, decoding: float = 100, threads: float = 180, workers: float = 190
) -> list[Rate]:
    """A table of two cores."""
    return [
        Rate("reading from disk", reading),
        Rate("reading from memory", memory),
        Rate("decoding", decoding),
        Rate("1 thread", threads / 2, "--threads 1"),
        Rate("2 threads", threads, "--threads 2"),
        Rate("1 process", workers / 2, "--workers 1"),
        Rate("2 processes", workers, "--workers 2"),
    ]


def test_decoding_bounds_and_threads_do() -> None:
    verdict = judge(rates(), 2, size=5, free=9, need=0)
    assert (verdict.bound, verdict.images_per_s, verdict.flag, verdict.enough) == ("decoding", 180, "--threads 2", None)
    assert verdict.sentence.startswith("Decoding bounds this machine: 180 images/s on 2 core(s) with --threads 2")
    assert "needed" not in verdict.sentence


def test_augmentation_bounds_and_processes_help() -> None:
    verdict = judge(rates(threads=60, workers=90), 2, size=5, free=9, need=45)
    assert (verdict.bound, verdict.images_per_s, verdict.flag, verdict.enough) == (
        "augmentation",
        90,
        "--workers 2",
        True,
    )
    assert verdict.sentence.endswith("For the 45 images/s that are needed that is enough (2.00 times).")


def test_reading_bounds_where_memory_cannot_hold_the_records() -> None:
    verdict = judge(rates(reading=50), 2, size=9, free=5, need=100)
    assert (verdict.bound, verdict.images_per_s, verdict.enough) == ("reading", 50, False)
    assert "50 images/s from disk, where 180 could be made with --threads 2" in verdict.sentence
    assert verdict.sentence.endswith("For the 100 images/s that are needed that is too few by a factor of 2.00.")


def test_slow_reading_is_of_the_first_epoch_where_memory_holds_the_records() -> None:
    verdict = judge(rates(reading=50), 2, size=5, free=9, need=0)
    assert verdict.bound == "decoding"
    assert "in the first epoch, 50 are read" in verdict.sentence


def test_a_disk_as_fast_as_memory_bounds_nothing() -> None:
    verdict = judge(rates(reading=100, memory=150), 2, size=9, free=5, need=0)
    assert verdict.bound == "decoding"
    assert "are read" not in verdict.sentence


@given(st.integers(1, 300))
def test_numbers_up_to(cpus: int) -> None:
    numbers = numbers_up_to(cpus)
    assert (numbers[0], numbers[-1]) == (1, cpus)
    assert all(a < b <= 2 * a for a, b in itertools.pairwise(numbers))


def test_rate_ends_with_the_work_or_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second whenever it is looked at."""
    monkeypatch.setattr(time, "perf_counter", itertools.count().__next__)
    assert rate(iter([2, 3]), 60) == 5 / 3
    assert rate(itertools.repeat(4), 10) == 40 / 11  # endless


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    pack_people(tmp_path / "train.rec", [3, 2], {2: face_image(2)[:-300]})
    write_property(tmp_path, DatasetProperty(2, 112, 112))
    return tmp_path


@pytest.mark.parametrize("color", [0, 2])
def test_a_small_damaged_set_by_all_ways(
    data_dir: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, color: int
) -> None:
    flags = ["--data-dir", str(data_dir), "--seconds", "0.05", "--cpus", "2", "--color", str(color), "--need", "1e9"]
    assert main([*flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["flag"] for entry in report["rates"]] == [
        *("", "", ""),
        *("--threads 1", "--threads 2"),
        *("--workers 1", "--workers 2"),
    ]
    assert all(entry["images_per_s"] > 0 for entry in report["rates"])
    assert report["enough"] is False
    assert report["flag"] in [entry["flag"] for entry in report["rates"][3:]]
    assert "1 of 5 images are damaged and were passed over" in caplog.text
    assert logging.getLogger("mxface.loaders").level == logging.NOTSET  # of whoever called


def test_the_table_ends_with_the_sentence(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(data_dir), "--seconds", "0.02", "--cpus", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 5 + 1
    assert lines[-2].endswith("--workers 1")
    assert "bounds this machine" in lines[-1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seconds", "0"], "--seconds 0.0: must be"),
        (["--cpus", "-1"], "--cpus -1: must be"),
        (["--need", "-1"], "--need -1.0: must be"),
        (["--batch-size", "0"], "--batch-size 0: must be"),
        (["--color", "-1"], "--color -1: must be"),
    ],
)
def test_flags_that_cannot_work(
    data_dir: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["--data-dir", str(data_dir), "--seconds", "0.01", "--cpus", "1", *flags]) == 1
    assert message in capsys.readouterr().err


def test_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path)]) == 1
    assert f"{tmp_path / 'train.rec'}: no such file; pack images with" in capsys.readouterr().err
