"""Freed memory is reused: a later pass over large blocks causes no page faults."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has the settings")

# The settings are seen in page faults, whose number is the same everywhere where pages are of one size.
PROGRAM = """
import ctypes
import resource
import sys

PR_SET_THP_DISABLE = 41
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
from mxface.runtime.heap import keep_freed_memory

count, mebibytes = int(sys.argv[1]), int(sys.argv[2])
print([keep_freed_memory(int(limit)) for limit in sys.argv[3:]])
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(mebibytes << 20) for _ in range(count)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(count: int, mebibytes: int, *limits: int, **env: str) -> tuple[str, int]:
    """What keep_freed_memory answered to each limit, and the page faults of the third pass over so many blocks."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, (count, mebibytes, *limits))],
        env={**{key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    answers, faults = finished.stdout.splitlines()
    return answers, int(faults)


@pytest.mark.parametrize(("count", "mebibytes", "limit"), [(3, 14, 64), (2, 48, 2047)])
def test_large_blocks_are_reused(count: int, mebibytes: int, limit: int) -> None:
    assert run(count, mebibytes)[1] > 1000
    answers, faults = run(count, mebibytes, limit)
    assert answers == "[True]"
    assert faults < 100


def test_a_smaller_limit_does_not_undo_a_larger_one() -> None:
    answers, faults = run(2, 48, 2047, 64)
    assert answers == "[True, True]"
    assert faults < 100


def test_a_users_own_settings_stand() -> None:
    answers, faults = run(2, 48, 2047, MALLOC_TRIM_THRESHOLD_="131072")
    assert answers == "[False]"
    assert faults > 1000


def test_the_off_switch_leaves_the_library_as_it_is() -> None:
    answers, faults = run(2, 48, 2047, MXFACE_KEEP_MEMORY="0")
    assert answers == "[False]"
    assert faults > 1000


def test_what_is_kept_can_be_handed_back_once() -> None:
    program = """
from mxface.runtime.heap import hand_back_freed_memory, keep_freed_memory
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

assert keep_freed_memory()
blocks = [bytearray(b"1") * (48 << 20) for _ in range(4)]
del blocks
kept = resident()
hand_back_freed_memory()
print(kept - resident())
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(finished.stdout) > 100 << 20
