"""What every command shares: one way to fail, one way to log.

A command is `main(argv: Sequence[str] | None = None) -> int` under `@command`; its door opens it. Inside it, raise any
`MxfaceError`: the user sees one sentence on stderr and exit status 1, never a traceback (set `MXFACE_TRACEBACK=1`
to get one). Ctrl-C exits with 130. Only a command's module may print.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mxface.errors import MxfaceError

Main = Callable[[Sequence[str] | None], int]


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps a description's line breaks (pasteable commands) and shows each flag's default, if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, "") else super()._get_help_string(action)


def command(main: Main) -> Callable[..., int]:
    """Turn errors meant for users into a sentence and an exit status."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except (MxfaceError, OSError) as error:
            if os.environ.get("MXFACE_TRACEBACK"):
                raise
            print(f"{program_name()}: error: {error}", file=sys.stderr)
            return 1
        except MemoryError as error:
            if os.environ.get("MXFACE_TRACEBACK"):
                raise
            print(f"{program_name()}: error: not enough memory: {error or 'none is left'}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return _interrupted()

    return wrapped


def open_door(module: str) -> NoReturn:
    """Import a command's module, run its `main` and exit with its status.

    To import it takes seconds where it loads torch: Ctrl-C then ends as it does later.
    """
    try:
        main: Callable[[], int] = importlib.import_module(module).main
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    sys.exit(main())


def _interrupted() -> int:
    print(f"{program_name()}: interrupted", file=sys.stderr)
    return 130


def program_name() -> str:
    """The name a user typed, for messages."""
    return Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "mxface"


def setup_logging(level: int = logging.INFO) -> None:
    """Log to stderr in 2019's form (`INFO:root:message`), once."""
    logging.basicConfig(level=level, format="%(levelname)s:%(name)s:%(message)s", stream=sys.stderr)
