"""Verification sets from folders; the bytes of a real one are held against 2019's in tests/oracle/test_rec.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.records import write_people

from mxface.data.lfw2pack import main
from mxface.formats.evalset import read_evalset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_people(tmp_path, {"ann": 3, "bob": 2})
    (tmp_path / "pairs.txt").write_text("10\t1\nann\t1\t3\nann\t1\tbob\t2\nann\t1\t7\nbob\t1\teve\t1\nbob\t1\t2\n")
    return tmp_path


def test_packs_the_files_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(folder), "--output", str(folder / "x.bin")]) == 0
    evalset = read_evalset(folder / "x.bin")
    names = ["ann_0001", "ann_0003", "ann_0001", "bob_0002", "bob_0001", "bob_0002"]
    assert evalset.images == [(folder / name[:3] / f"{name}.jpg").read_bytes() for name in names]
    assert evalset.issame.tolist() == [True, False, True]
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == [
        f"not exists {folder}/ann/ann_0001.jpg {folder}/ann/ann_0007.jpg",
        f"not exists {folder}/bob/bob_0001.jpg {folder}/eve/eve_0001.jpg",
        "Skipped 2 image pairs",
    ]
    assert out[3] == f"{folder}/x.bin: 3 pairs, 2 of the same person"


def test_pairs_from_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pairs = tmp_path_factory.mktemp("elsewhere") / "some.txt"
    pairs.write_text("1\t1\nbob\t1\t2\n")
    assert main(["--data-dir", str(folder), "--pairs", str(pairs), "--output", str(folder / "x.bin")]) == 0
    assert read_evalset(folder / "x.bin").issame.tolist() == [True]


def test_image_size_warns(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["--data-dir", str(folder), "--output", str(folder / "x.bin"), "--image-size", "112,96"]) == 0
    assert "--image-size has no effect" in caplog.text


def test_progress_every_thousand(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mxface.data.lfw2pack.IMAGES_PER_REPORT", 3)
    assert main(["--data-dir", str(folder), "--output", str(folder / "x.bin")]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("loading")] == [
        "loading lfw 3",
        "loading lfw 6",
    ]


def test_what_cannot_be_packed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(folder), "--output", str(folder)]) == 1
    assert "is a folder; name a file in it" in capsys.readouterr().err
    (folder / "pairs.txt").write_text("10\t1\nann\t1\t7\n")
    assert main(["--data-dir", str(folder), "--output", str(folder / "x.bin")]) == 1
    assert "no pair of" in capsys.readouterr().err
    assert not (folder / "x.bin").exists()
    (folder / "pairs.txt").unlink()
    assert main(["--data-dir", str(folder), "--output", str(folder / "x.bin")]) == 1
    assert "pairs.txt" in capsys.readouterr().err
