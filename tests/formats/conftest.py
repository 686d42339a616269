"""What the tests of hostile files share."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mxface.errors import FormatError

BoundedMemory = Callable[[int], contextlib.AbstractContextManager[None]]


@pytest.fixture
def bounded_memory() -> BoundedMemory:
    """A block that may not allocate more than so many bytes at once (Python's and NumPy's memory)."""

    @contextlib.contextmanager
    def bounded(limit: int) -> Iterator[None]:
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < limit
        finally:
            tracemalloc.stop()

    return bounded


@pytest.fixture
def refused(bounded_memory: BoundedMemory) -> Callable[..., FormatError]:
    """Call a reader on a bad file: it must raise a FormatError that names the file, before it allocates a megabyte."""

    def refused(reader: Callable[[Path], object], path: Path, match: str | None = None) -> FormatError:
        with bounded_memory(1 << 20), pytest.raises(FormatError, match=match) as caught:
            reader(path)
        assert str(path) in str(caught.value)
        return caught.value

    return refused
