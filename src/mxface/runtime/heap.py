"""The C library's memory, kept instead of handed back.

glibc returns large freed blocks to the kernel and fetches them anew, page by page, at the next use. The maps of a
network are such blocks: on a CPU this alone makes inference with y1, and training in float32, a third slower
(docs/LOG.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Of glibc's malloc.h."""

MEBIBYTE = 1 << 20
LARGEST_MMAP_THRESHOLD = 32 * MEBIBYTE
EVERYTHING = 2047
"""Mebibytes; more than 64 means blocks of every size."""

_kept = 0


def keep_freed_memory(mebibytes: int = EVERYTHING) -> bool:
    """Let this process keep up to so much freed memory for reuse, unless it keeps more already.

    Returns whether it does now: only glibc has the settings, and a user's own (`MALLOC_…`) stand.
    """
    global _kept
    if mebibytes <= _kept:
        return True
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    size = mebibytes * MEBIBYTE
    # blocks up to the threshold come from the heap, which keeps what is freed; larger ones are mapped, and handed back
    mapping = (M_MMAP_THRESHOLD, size // 2) if size // 2 <= LARGEST_MMAP_THRESHOLD else (M_MMAP_MAX, 0)
    if mallopt(*mapping) and mallopt(M_TRIM_THRESHOLD, size):
        _kept = mebibytes
    return _kept == mebibytes
