"""Shared by the tests: where things are, and how a command is run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ORACLE = Path(os.environ.get("MXFACE_ORACLE", REPOSITORY.parent / "shared" / "oracle"))
ASSETS = Path(os.environ.get("MXFACE_ASSETS", REPOSITORY.parent / "shared" / "assets"))


def run_door(
    door: str, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `python DOOR ARGUMENTS…` (DOOR relative to the repository) in `cwd` (default: the door's own folder)."""
    path = REPOSITORY / door
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **(env or {})}
    return subprocess.run(
        [sys.executable, "-u", str(path), *map(str, arguments)],
        cwd=cwd or path.parent,
        env=environment,
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
