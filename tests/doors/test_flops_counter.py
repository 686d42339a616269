"""recognition/common/flops_counter.py as a user runs it."""

from __future__ import annotations

from pathlib import Path

from tests.support import run_door
from tests.support.tiny_model import save_tiny_model

DOOR = "recognition/common/flops_counter.py"


def test_help_has_a_line_to_paste() -> None:
    finished = run_door(DOOR, "--help")
    assert finished.returncode == 0, finished.stderr
    assert "python flops_counter.py --model ../../models/r50-arcface-emore/model,1" in finished.stdout


def test_one_line_is_printed(tmp_path: Path) -> None:
    prefix = save_tiny_model(tmp_path / "model")
    finished = run_door(DOOR, "--model", f"{prefix},1")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "FLOPs: 653.5K\n", "")
    finished = run_door(DOOR, cwd=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith("flops_counter.py: error: ")
    assert "../models2/r50fc-arcface-emore/model-0001.params" in finished.stderr  # 2019's default
