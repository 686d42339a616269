"""Automatic names: `hint` + a counter that starts at 0 in each NameManager and counts every unnamed node made.

Outside of any `with NameManager():` one manager serves the process, as in MXNet. Nodes that later fall out of a graph
have still been counted, so names depend on the order in which a network's code makes its nodes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from mxface.graph.node import Node

AUTOMATIC_NAME = re.compile(r"(.*?)(\d+)")


class NameManager:
    """Names what is made inside `with NameManager():`; the counters start at 0."""

    def __init__(self) -> None:
        self._counters: Counter[str] = Counter()
        self._tokens: list[Token[NameManager | None]] = []

    def get(self, name: str | None, hint: str) -> str:
        """The given name, or the next automatic one of this hint."""
        if name:
            return name
        count = self._counters[hint]
        self._counters[hint] += 1
        return f"{hint}{count}"

    def count_past(self, nodes: Iterable[Node]) -> None:
        """Advance the counters beyond all automatic names that these nodes bear."""
        for node in nodes:
            if match := AUTOMATIC_NAME.fullmatch(node.name):
                hint, number = match[1], int(match[2])
                self._counters[hint] = max(self._counters[hint], number + 1)

    def __enter__(self) -> NameManager:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())


_process_manager = NameManager()
_current: ContextVar[NameManager | None] = ContextVar("mxface_name_manager", default=None)


def automatic_name(name: str | None, hint: str) -> str:
    """The given name, or the next one of this hint from the manager in force."""
    return (_current.get() or _process_manager).get(name, hint)


@contextmanager
def network_names(after: Iterable[Node] = ()) -> Iterator[None]:
    """Names for one whole network: the caller's NameManager where there is one, otherwise a new one.

    So a network built twice in a process has the same names, and `with NameManager():` continues the counters from one
    part to the next as a fresh MXNet process would. A new manager starts beyond the automatic names of `after`.
    """
    if _current.get() is not None:
        yield
        return
    with NameManager() as manager:
        manager.count_past(after)
        yield
