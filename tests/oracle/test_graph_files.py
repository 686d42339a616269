"""Every graph of the original is read, sized and written back to the byte.

One variant a family by default, all of them among the slow tests.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.oracle.network_cases import CASES, NetworkCase

from mxface.graph import symbol_from_text
from mxface.ops import OPS

WITH_FILE = [case for case in CASES if case.symbol_path.is_file()]


def marked_cases() -> Iterator[object]:
    seen = set()
    for case in WITH_FILE:
        family = case.path.parent.name
        marks = [pytest.mark.slow] if family in seen or "xception" in family else []
        seen.add(family)
        yield pytest.param(case, id=case.label, marks=marks)


def test_the_oracle_has_cases(oracle: Path) -> None:
    if not WITH_FILE:
        pytest.skip(f"{oracle} has no graph files (they are not needed: crc32 figures stand for them)")
    assert all(set(case.facts["op_histogram"]) <= set(OPS) for case in WITH_FILE)


@pytest.mark.parametrize("case", list(marked_cases()))
def test_a_graph_is_read_sized_and_written_back(case: NetworkCase) -> None:
    text = gzip.decompress(case.symbol_path.read_bytes()).decode()
    symbol = symbol_from_text(text)
    assert symbol.tojson() == text
    arguments, outputs, states = symbol.infer_shape(**case.inputs)
    assert [[name, list(shape)] for name, shape in arguments.items()] == case.facts["arguments"]
    assert [[name, list(shape)] for name, shape in states.items()] == case.facts["aux"]
    output_shapes = zip(symbol.list_outputs(), outputs, strict=True)
    assert [[name, list(shape)] for name, shape in output_shapes] == case.facts["outputs"]
