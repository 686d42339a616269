"""Every error that mxface raises for a user's sake.

    MxfaceError
    ├── FormatError            a file's bytes are not what the format says (also a ValueError)
    ├── GraphError             a graph cannot be built, read, sized or lowered (also a ValueError)
    │   └── UnsupportedOperatorError
    ├── ConfigError            a flag, a config key or their combination (also a ValueError)
    │   └── SettingError       one setting, which a command names by its flag
    ├── DataError              data are missing, empty or too damaged to go on (also a ValueError)
    │   └── NoTripletsError    mining finds none in the data any more
    ├── SaveError              a result cannot be written: the disk is full, the folder gone (also an OSError)
    ├── DependencyError        an optional package is needed and not installed (also an ImportError)
    ├── NonFiniteLossError     training stopped before a bad update (also an ArithmeticError)
    └── RankError              of processes that train together one ended, hangs or fails

Commands turn any of them into one sentence and exit status 1 (`mxface.cli.command`).
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any


class MxfaceError(Exception):
    """Base of all errors of this package."""


class FormatError(MxfaceError, ValueError):
    """A file does not hold what its format promises.

    The message names the file, the byte offset, what was found, what was expected and the way out.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        found: str,
        expected: str,
        *,
        offset: int | None = None,
        way_out: str = "",
    ) -> None:
        self.path = os.fspath(path)
        self.offset = offset
        self.found = found
        self.expected = expected
        self.way_out = way_out
        where = self.path if offset is None else f"{self.path}: byte {offset}"
        message = f"{where}: found {found}, expected {expected}"
        super().__init__(f"{message}; {way_out}" if way_out else message)

    def __reduce__(self) -> tuple[Any, ...]:
        # ranks tell one another of errors
        rebuild = partial(FormatError, offset=self.offset, way_out=self.way_out)
        return rebuild, (self.path, self.found, self.expected)


class GraphError(MxfaceError, ValueError):
    """A graph cannot be built, read, sized or lowered; the message names the node."""


class UnsupportedOperatorError(GraphError):
    """A graph uses an operator that mxface does not have; the message lists those it has."""


class ConfigError(MxfaceError, ValueError):
    """A flag or a config key has a value that cannot work; the message names it and what to set instead."""


class SettingError(ConfigError):
    """One setting has a value that cannot work: its name, and what follows it in the sentence."""

    def __init__(self, name: str, complaint: str) -> None:
        self.name = name
        self.complaint = complaint
        super().__init__(name, complaint)  # ranks tell one another of errors

    def __str__(self) -> str:
        return f"{self.name}{self.complaint}"

    def named(self, name: str) -> SettingError:
        """The same error under the name that the user knows the setting by."""
        return SettingError(name, self.complaint)


class DataError(MxfaceError, ValueError):
    """Data are missing, empty or damaged beyond the limit that was set."""


class NoTripletsError(DataError):
    """There is nothing to mine with a network that has not collapsed; raised on all ranks alike."""


class SaveError(MxfaceError, OSError):
    """A result cannot be written; the message names it, the reason and the way out."""

    def __init__(self, path: str | os.PathLike[str], reason: str, *, way_out: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        self.way_out = way_out
        super().__init__(f"{self.path}: cannot be written ({reason}); {way_out}")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(SaveError, way_out=self.way_out), (self.path, self.reason)

    @classmethod
    def of(cls, path: str | os.PathLike[str], error: OSError, *, way_out: str) -> SaveError:
        """`error`, which writing `path` led to."""
        return cls(
            path, error.reason if isinstance(error, SaveError) else error.strerror or str(error), way_out=way_out
        )


class DependencyError(MxfaceError, ImportError):
    """An optional package is needed; the message says how to install it."""


class NonFiniteLossError(MxfaceError, ArithmeticError):
    """The loss is not finite; raised before the update, so the parameters are still good."""


class RankError(MxfaceError):
    """One of the processes that train together ended, hangs or fails; the message says which and how."""
