"""Threads must not show: order, bound and errors are those of a plain loop."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from mxface.loaders.ordered_map import ordered_map


@pytest.mark.parametrize("threads", [1, 3])
def test_order_is_that_of_the_items(threads: int) -> None:
    def slow_square(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    results = list(ordered_map(slow_square, range(20), threads=threads, window=threads + 1))
    assert results == [item * item for item in range(20)]


def test_works_ahead_but_never_beyond_the_window() -> None:
    taken = 0
    furthest_ahead = 0

    def endless() -> Iterator[int]:
        nonlocal furthest_ahead
        for item in itertools.count():
            furthest_ahead = max(furthest_ahead, item + 1 - taken)
            yield item

    results = ordered_map(lambda item: item, endless(), threads=2, window=3)
    for item in itertools.islice(results, 10):
        assert item == taken
        taken += 1
    results.close()
    assert furthest_ahead == 3


def test_an_error_comes_at_its_turn() -> None:
    def fail_at_two(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = ordered_map(fail_at_two, range(5), threads=4, window=5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_closing_drops_what_has_not_begun() -> None:
    before = set(threading.enumerate())
    begun: list[int] = []
    gate = threading.Event()

    def wait(item: int) -> int:
        begun.append(item)
        if item:
            gate.wait()
        return item

    results = ordered_map(wait, range(100), threads=1, window=50)
    assert next(results) == 0
    gate.set()
    results.close()
    assert len(begun) < 100
    assert set(threading.enumerate()) <= before
