"""What importing the package does, and does not do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TORCH_FREE = (
    "mxface",
    "mxface.formats",
    "mxface.ops",
    "mxface.graph",
    "mxface.symbols",
    "mxface.data",
    "mxface.loaders",
    "mxface.cli",
)
COMMANDS_OF_DATA = ("dir2lst", "face2rec2", "lfw2pack", "get_orl", "bench_data")


def run_python(code: str, **environment: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [sys.executable, "-c", code], env={**env, **environment}, text=True, capture_output=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("module", [*TORCH_FREE, *(f"mxface.data.{name}" for name in COMMANDS_OF_DATA)])
def test_torch_is_not_loaded_by(module: str) -> None:
    assert run_python(f"import sys, {module}; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "module", ["mxface.eval", "mxface.eval.verification", "mxface.detect", "mxface.align.align_lfw"]
)
def test_judges_and_aligners_do_not_load_training(module: str) -> None:
    assert run_python(f"import sys, {module}; print('mxface.train' in sys.modules)") == "False"


def test_waiting_threads_sleep_unless_the_user_says_otherwise() -> None:
    show = "import mxface, os; print(os.environ['OMP_WAIT_POLICY'])"
    assert run_python(show) == "passive"
    assert run_python(show, OMP_WAIT_POLICY="active") == "active"
