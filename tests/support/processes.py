"""Waiting for what another process does: until it is seen, never for a while that should be enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

PATIENCE_S = 600.0
"""After which a test fails: nothing here takes long, but for a machine that is busy with something else."""

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look into a process")


def wait_until(event: Callable[[], bool], what: str, *, pause_s: float = 0.02) -> None:
    """Until `event` gives True; fails after PATIENCE_S, saying `what` did not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not event():
        assert time.monotonic() < deadline, f"{what}: not in {PATIENCE_S:g} s"
        time.sleep(pause_s)


def is_running(pid: int) -> bool:
    """Whether there is such a process, dead ones that nobody waited for left out."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: Iterable[int]) -> None:
    """Until none of these processes runs."""
    for pid in pids:
        wait_until(lambda pid=pid: not is_running(pid), f"the end of process {pid}")  # type: ignore[misc]
