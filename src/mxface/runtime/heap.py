"""The C library's memory, kept instead of handed back.

glibc returns large freed blocks to the kernel and fetches them anew, page by page, at the next use. The maps of a
network are such blocks: on a CPU this alone makes inference with y1, and training in float32, a third slower
(docs/LOG.md). Setting this from within needs no environment variable before the process starts.

MXFACE_KEEP_MEMORY=0 leaves the C library as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Of glibc's malloc.h."""

OFF_SWITCH = "MXFACE_KEEP_MEMORY"

MEBIBYTE = 1 << 20
LARGEST_MMAP_THRESHOLD = 32 * MEBIBYTE
EVERYTHING = 2047
"""Mebibytes; more than 64 means blocks of every size."""

_kept = 0


def keep_freed_memory(mebibytes: int = EVERYTHING) -> bool:
    """Let this process keep up to so much freed memory for reuse, unless it keeps more already.

    Returns whether it does now: only glibc has the settings, a user's own (`MALLOC_…`) stand, and so does a "0" in
    MXFACE_KEEP_MEMORY.
    """
    global _kept
    if mebibytes <= _kept:
        return True
    mallopt = _glibc("mallopt")
    is_set_by_user = any(name.startswith("MALLOC_") for name in os.environ) or os.environ.get(OFF_SWITCH) == "0"
    if mallopt is None or is_set_by_user:
        return False
    size = mebibytes * MEBIBYTE
    # blocks up to the threshold come from the heap, which keeps what is freed; larger ones are mapped, and handed back
    mapping = (M_MMAP_THRESHOLD, size // 2) if size // 2 <= LARGEST_MMAP_THRESHOLD else (M_MMAP_MAX, 0)
    if mallopt(*mapping) and mallopt(M_TRIM_THRESHOLD, size):
        _kept = mebibytes
    return _kept == mebibytes


def hand_back_freed_memory() -> None:
    """Once, what is free now goes to the kernel after all; what is freed later is kept again."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where there is no such one."""
    if not sys.platform.startswith("linux"):
        return None
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function
