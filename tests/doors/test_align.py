"""src/align/*.py as a user runs them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from tests.support import run_door
from tests.support.faces import photograph
from tests.support.mtcnn_files import save_constant_mtcnn


@pytest.mark.parametrize("door", ["src/align/align_lfw.py", "src/align/get_mtcnn.py"])
def test_help_has_a_line_to_paste(door: str) -> None:
    finished = run_door(door, "--help")
    assert finished.returncode == 0, finished.stderr
    assert f"python {door} --" in finished.stdout


def test_a_folder_is_aligned(tmp_path: Path) -> None:
    (tmp_path / "raw" / "Ann").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "raw" / "Ann" / "a.jpg"), photograph(1, size=(60, 50)))
    # found without a flag: models/mtcnn in the working directory
    save_constant_mtcnn(tmp_path / "models" / "mtcnn", everywhere=False)
    flags = ["--input-dir", "raw", "--output-dir", "aligned", "--force", 1]
    finished = run_door("src/align/align_lfw.py", *flags, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "aligned" / "lst").read_text() == "1\taligned/Ann/a.jpg\t0\n"
    assert cv2.imread(str(tmp_path / "aligned" / "Ann" / "a.jpg")).shape == (112, 112, 3)


def test_a_wheel_that_is_none_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mtcnn.whl").write_bytes(b"PK")
    finished = run_door("src/align/get_mtcnn.py", "--wheel", tmp_path / "mtcnn.whl", "--output", tmp_path / "out")
    assert finished.returncode == 1
    assert finished.stderr.startswith("get_mtcnn.py: error: ")
    assert "Traceback" not in finished.stderr
