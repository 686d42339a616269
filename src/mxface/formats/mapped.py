"""Read-only bytes of a file by memory map: what the readers of this package stand on."""

from __future__ import annotations

import mmap
import os
from pathlib import Path


def map_file(path: str | os.PathLike[str]) -> memoryview:
    """The whole file as bytes that the system loads when touched.

    The map lives as long as any view of it, whatever happens to the file's name; pages are private (copy on write), so
    arrays made from it may be changed without touching the file. Shortening the file in place while it is mapped kills
    the process (SIGBUS): replace files by renaming, as `atomic_write` does.
    """
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
