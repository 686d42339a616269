"""The C library's memory, kept instead of handed back.

glibc returns every freed block of more than 128 kB to the kernel and fetches it anew, page by page, at the next use. A
training step on a CPU frees and takes hundreds of such blocks: without this it is a quarter slower (docs/LOG.md).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h."""

MEBIBYTE = 1 << 20


def keep_freed_memory() -> bool:
    """Let this process reuse large freed blocks; its memory then stays at its peak.

    Returns whether that worked: only Linux with glibc has the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2048 * MEBIBYTE - 1, M_TOP_PAD: 64 * MEBIBYTE}
    return all(mallopt(setting, value) for setting, value in settings.items())
