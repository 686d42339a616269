"""recognition/common/checkpoint.py as a user runs it."""

from __future__ import annotations

from pathlib import Path

from tests.support import run_door
from tests.support.tiny_model import save_tiny_model

DOOR = "recognition/common/checkpoint.py"


def test_help_has_lines_to_paste() -> None:
    finished = run_door(DOOR, "--help")
    assert finished.returncode == 0, finished.stderr
    assert "python checkpoint.py inspect ../../models/r100-arcface-emore" in finished.stdout
    finished = run_door(DOOR, "split", "--help")
    assert "arg:fc7_<i>_weight" in finished.stdout


def test_a_model_is_inspected(tmp_path: Path) -> None:
    prefix = save_tiny_model(tmp_path / "model")
    finished = run_door(DOOR, "inspect", f"{prefix},1", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "arg:conv0_weight" in finished.stdout
    finished = run_door(DOOR, "inspect", "nowhere", cwd=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr == "checkpoint.py: error: nowhere: no such file or folder; a model is named PREFIX,EPOCH\n"
