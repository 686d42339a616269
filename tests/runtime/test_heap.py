"""Freed memory is reused: the third pass over a large block causes no page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
from mxface.runtime.heap import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(48 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_the_third_pass(setting: str) -> int:
    finished = subprocess.run([sys.executable, "-c", PROGRAM, setting], capture_output=True, text=True, check=True)
    return int(finished.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has glibc")
def test_large_blocks_are_reused() -> None:
    assert faults_of_the_third_pass("plain") > 1000
    assert faults_of_the_third_pass("keep") < 100
