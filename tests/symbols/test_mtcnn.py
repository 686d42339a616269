"""The networks of MTCNN are those of the 2016 files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mxface.graph import Symbol, load_symbol
from mxface.symbols import mtcnn

ENGINE_HINTS = {"cudnn_tune", "cudnn_off"}
"""The files switch cuDNN's search off; a graph of ours leaves that to the engine."""


def describe(symbol: Symbol) -> list[Any]:
    """All that computes: operators, names, typed parameters, inputs, heads. Variables of 2016 have no attributes."""
    place = {node: index for index, node in enumerate(symbol.nodes)}
    nodes = [
        (
            node.op,
            node.name,
            None if node.is_variable else {k: v for k, v in node.params.items() if k not in ENGINE_HINTS},
            [(place[entry.node], entry.index) for entry in node.inputs],
        )
        for node in symbol.nodes
    ]
    return [nodes, [(place[head.node], head.index) for head in symbol.heads]]


@pytest.mark.parametrize(("build", "name"), [(mtcnn.pnet, "det1"), (mtcnn.rnet, "det2"), (mtcnn.onet, "det3")])
def test_node_for_node(build: Callable[[], Symbol], name: str, assets: Path) -> None:
    assert describe(build()) == describe(load_symbol(assets / "mtcnn" / f"{name}-symbol.json"))


@pytest.mark.parametrize(
    ("build", "size", "outputs"),
    [
        (mtcnn.pnet, 12, [(2, 4, 1, 1), (2, 2, 1, 1)]),
        (mtcnn.pnet, 37, [(2, 4, 14, 14), (2, 2, 14, 14)]),
        (mtcnn.rnet, 24, [(2, 4), (2, 2)]),
        (mtcnn.onet, 48, [(2, 10), (2, 4), (2, 2)]),
    ],
)
def test_outputs(build: Callable[[], Symbol], size: int, outputs: list[tuple[int, ...]]) -> None:
    assert build().infer_shape(data=(2, 3, size, size))[1] == outputs
