"""Our networks are the original's, node for node: names, attributes, order, shapes.

The facts' crc32 of the nodes decides; the original's symbol files are not needed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.oracle.network_cases import BUILT, CASES, NetworkCase

from mxface.formats.symbol_json import nodes_crc32


def test_the_oracle_has_cases(oracle: Path) -> None:
    assert BUILT, f"no network of {oracle} is built here, of {len(CASES)} variants"


def test_every_network_is_built(oracle: Path) -> None:
    assert [case.label for case in CASES if not case.is_built] == []


@pytest.mark.parametrize("case", BUILT, ids=lambda case: case.label)
def test_nodes_and_shapes(case: NetworkCase) -> None:
    facts = case.facts
    symbol = case.build()
    graph = symbol.to_json_graph()
    assert len(graph.nodes) == facts["num_nodes"]
    assert nodes_crc32(graph) == facts["symbol_crc32_of_nodes"]
    arguments, outputs, states = symbol.infer_shape(**case.inputs)
    assert [[name, list(shape)] for name, shape in arguments.items()] == facts["arguments"]
    assert [[name, list(shape)] for name, shape in states.items()] == facts["aux"]
    output_shapes = zip(symbol.list_outputs(), outputs, strict=True)
    assert [[name, list(shape)] for name, shape in output_shapes] == facts["outputs"]
