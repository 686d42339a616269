"""Where a user's files are looked for when a command is not told."""

from __future__ import annotations

import sys
from pathlib import Path


def search_folders() -> list[Path]:
    """The working directory, the folder of the command that runs, and the repository's root, in this order."""
    folders = [Path.cwd(), command_folder(), repository_root() or Path.cwd()]
    return list(dict.fromkeys(folders))


def command_folder() -> Path:
    """The folder of the script that was started; of `python -m mxface.deploy.test`, the package's `deploy`."""
    return Path(sys.argv[0]).resolve().parent


def repository_root() -> Path | None:
    """The checkout that the running command belongs to; None for an installed package."""
    here = command_folder()
    return next((folder for folder in (here, *here.parents) if (folder / "src" / "mxface").is_dir()), None)
