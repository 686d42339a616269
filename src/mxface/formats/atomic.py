"""A file is either the old one or the whole new one.

The new bytes go to a hidden temporary name in the same folder. When the block ends they are flushed, fsynced and
renamed over the target; when it raises they are deleted. A symbolic link stays; the file it leads to is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mxface.errors import SaveError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears under its name only if the block ends without an exception.

    Text modes write UTF-8 with `\\n` line ends. The parent folder must exist.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    try:
        with temporary.open(mode.replace("w", "x"), encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as exc:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.filename == str(temporary):
            raise type(exc)(exc.errno, exc.strerror, str(target)) from exc  # the name that the user knows
        if isinstance(exc, OSError) and exc.errno in NO_SPACE:
            raise SaveError.of(target, exc, way_out="free some space there") from exc
        raise
    sync_folder(target.parent)


def sweep(target: str | os.PathLike[str]) -> None:
    """Remove the temporary files of this target, or of all whose names begin with it, that a killed process left.

    Not while another process writes there.
    """
    path = Path(os.path.realpath(target))
    for temporary in path.parent.glob(f".{glob.escape(path.name)}*.tmp"):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the platform can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
