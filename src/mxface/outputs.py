"""Where a command will write: checked or made before the work starts, so that no work is lost for want of a folder."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mxface.errors import ConfigError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)


def require_file(path: str | os.PathLike[str], flag: str, *, makes_folders: bool = False) -> None:
    """Raise ConfigError where no file can be written to `path`, the value of `flag`.

    Its folder must exist, unless the command `makes_folders`.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{flag} {path}: is a folder; name a file in it")
    if not (makes_folders or path.parent.exists()):
        raise ConfigError(f"{flag} {path}: there is no folder {path.parent}; make it, or name another")
    _require_writable(path.parent, f"{flag} {path}")


def require_folder(path: str | os.PathLike[str], flag: str) -> None:
    """Raise ConfigError where files cannot be written into the folder `path`, which need not exist."""
    _require_writable(Path(path), f"{flag} {path}")


def require_new(path: str | os.PathLike[str], flag: str) -> None:
    """Raise ConfigError where something is at `path`, the value of `flag`."""
    if os.path.lexists(path):
        raise ConfigError(f"{flag} {path}: exists; name a new folder")


def _require_writable(folder: Path, subject: str) -> None:
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        with tempfile.NamedTemporaryFile(dir=nearest, prefix=".", suffix=".tmp"):
            pass  # to try is the only way to know: permissions are not all that can stand against it
    except OSError as exc:
        raise ConfigError(
            f"{subject}: nothing can be written to {nearest} ({exc.strerror}); name another place"
        ) from exc


@contextlib.contextmanager
def output_folder(path: Path, flag: str) -> Iterator[None]:
    """Make the folder `path`, with its parents, or raise ConfigError.

    Those that were made go again where they are empty at the end.
    """
    missing: list[Path] = []
    try:
        try:
            missing += [place for place in (path, *path.parents) if not place.exists()]
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            reason = exc.strerror
            raise ConfigError(f"{path}: the output folder cannot be made ({reason}); choose another {flag}") from exc
        require_folder(path, flag)
        yield
    finally:
        with contextlib.suppress(OSError):  # one that is not empty keeps its parents; who moved one will put it back
            for place in missing:
                place.rmdir()


@contextlib.contextmanager
def sole_use(folder: Path, way_out: str) -> Iterator[None]:
    """Raise ConfigError where another process of this machine is in such a block for the same folder.

    The folder itself is locked: no file is left, and a process that is killed holds nothing. Where folders cannot be
    locked (Windows, some file systems) nothing is asked.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"{folder}: another run writes there now; {way_out}") from None
    except OSError as exc:
        log.debug("%s: cannot be locked (%s)", folder, exc.strerror)
    try:
        yield
    finally:
        os.close(descriptor)
