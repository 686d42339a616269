"""src/eval/*.py as a user runs them, on people and a model made here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support import run_door
from tests.support.verification import MODEL, PAIRS, make_verification_data

from mxface.formats.evalset import read_evalset

ACCURACY = r"[01]\.\d{5}\+-0\.\d{5}"
NUMBER = r"\d+\.\d+(e-\d+)?"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_verification_data(tmp_path_factory.mktemp("faces"))


@pytest.mark.parametrize("door", ["src/eval/verification.py", "src/eval/lfw.py"])
def test_help_has_a_line_to_paste(door: str) -> None:
    finished = run_door(door, "--help")
    assert finished.returncode == 0
    assert f"python {door} --data-dir" in finished.stdout


def test_verification_prints_every_line_of_2019(data: Path) -> None:
    model = ["--model", f"{data}/{MODEL},2", "--gpu", -1]
    finished = run_door("src/eval/verification.py", "--data-dir", data, *model, "--target", "easy,absent,hard")
    assert finished.returncode == 0, finished.stderr
    prefix = re.escape(f"{data}/{MODEL}")
    lines = [r"image_size \[112, 112\]", "model number 1", f"loading {prefix} 2", f"model loading time {NUMBER}"]
    for name in ("easy", "hard"):
        lines += [f"loading..  {name}", "loading bin 0", rf"\({2 * PAIRS}, 3, 112, 112\)"]
    for name in ("easy", "hard"):
        lines += ["testing verification..", rf"\({2 * PAIRS}, 16\)", f"infer time {NUMBER}"]
        lines += [rf"\[{name}\]XNorm: {NUMBER}", rf"\[{name}\]Accuracy: {ACCURACY}"]
        lines += [rf"\[{name}\]Accuracy-Flip: {ACCURACY}", rf"Max of \[{name}\] is [01]\.\d{{5}}"]
    printed = finished.stdout.splitlines()
    assert len(printed) == len(lines)
    for line, pattern in zip(printed, lines, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_lfw_prints_the_figures_of_its_pack(data: Path, tmp_path: Path) -> None:
    packed = read_evalset(data / "hard.bin")
    lines = [f"1\t{PAIRS}"]
    for pair, same in enumerate(packed.issame):
        first, second = packed.images[2 * pair : 2 * pair + 2]
        for name, number, content in ((f"A{pair}", 1, first), (f"{'A' if same else 'B'}{pair}", 2, second)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{name}_{number:04d}.jpg").write_bytes(content)
        lines.append(f"A{pair}\t1\t2" if same else f"A{pair}\t1\tB{pair}\t2")
    (tmp_path / "pairs.txt").write_text("\n".join([*lines, "A0\t1\t7"]) + "\n")

    model = ["--model", f"{data}/{MODEL},1"]
    lfw = run_door("src/eval/lfw.py", "--data-dir", tmp_path, *model)
    assert lfw.returncode == 0, lfw.stderr
    assert f"not exists {tmp_path}/A0/A0_0001.jpg {tmp_path}/A0/A0_0007.jpg\nSkipped 1 image pairs\n" in lfw.stdout
    verification = run_door("src/eval/verification.py", "--data-dir", data, *model, "--target", "hard")
    figures = re.findall(r"\[hard\](\w.*)", verification.stdout)
    assert len(figures) == 3
    assert re.findall(r"\[lfw\](.*)", lfw.stdout) == figures


def test_bad_data_ends_with_a_sentence_and_status_1(data: Path) -> None:
    finished = run_door("src/eval/verification.py", "--data-dir", data, "--target", "lfw,agedb_30")
    assert finished.returncode == 1
    assert finished.stderr.startswith("verification.py: error: none of lfw.bin, agedb_30.bin is in")
    assert "Traceback" not in finished.stderr
