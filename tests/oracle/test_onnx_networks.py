"""Exported networks in ONNX Runtime: the original's outputs on MXNet, and real models beside our own engine.

The smallest variant of each network and of each kind of deformable convolution runs always, the others with `--slow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.oracle.fill import fill_network
from tests.oracle.network_cases import NetworkCase
from tests.oracle.test_network_outputs import NUMERIC, difference, stored_pieces
from tests.support import ASSETS

from mxface.export.onnx import to_onnx
from mxface.export.parity import measure_parity, parity_tolerance
from mxface.graph import load_checkpoint
from mxface.runtime import build_predictor

runtime = pytest.importorskip("onnxruntime")

MANY_NODES = 5000
"""Graphs of more take seconds to build."""

PREDICTING = [case for case in NUMERIC if not case.facts["fill"].get("extra_input_shapes")]
"""Without labels to feed."""

MODELS = [path.with_name(path.name.removesuffix("-symbol.json")) for path in sorted(ASSETS.glob("*/*-symbol.json"))]

DEFORMABLE = ("_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution")


@cache
def always() -> set[str]:
    """The labels of what runs always."""

    def smallest(cases: Iterable[NetworkCase]) -> str:
        return min(cases, key=lambda case: case.facts["param_count"]).label

    folders = {case.path.parent for case in PREDICTING}
    chosen = {smallest(case for case in PREDICTING if case.path.parent == folder) for folder in folders}
    for op in DEFORMABLE:
        chosen.add(smallest(case for case in PREDICTING if op in case.facts["op_histogram"]))
    return chosen


def runs_always(case: NetworkCase) -> bool:
    return case.label in always() and case.facts["num_nodes"] < MANY_NODES


PARAMETERS = [
    pytest.param(case, marks=() if runs_always(case) else pytest.mark.slow, id=case.label) for case in PREDICTING
]


def start_session(model: Any) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_the_oracle_has_cases(oracle: Path) -> None:
    assert sum(map(runs_always, PREDICTING)) >= 15


@pytest.mark.parametrize("case", PARAMETERS)
def test_outputs_are_the_originals(case: NetworkCase) -> None:
    filled = fill_network(case.facts)
    images = filled.pop("data")
    symbol = case.build()
    session = start_session(to_onnx(symbol, filled, input_shapes={"data": (1, *images.shape[1:])}))
    outputs = session.run(None, {"data": images})
    for output, (piece, stored) in zip(outputs, stored_pieces(case), strict=True):
        assert list(output.shape) == piece["shape"]
        assert difference(output.flatten()[:: piece["stride"]], stored) < parity_tolerance(symbol)


def test_the_assets_have_models(assets: Path) -> None:
    assert MODELS


@pytest.mark.parametrize("prefix", MODELS, ids=lambda prefix: f"{prefix.parent.name}/{prefix.name}")
def test_real_models(prefix: Path) -> None:
    checkpoint = load_checkpoint(prefix, int(prefix.parent.name == "mtcnn"))
    ours = build_predictor(checkpoint, device="cpu")
    theirs = build_predictor(checkpoint, engine="onnxruntime")
    centred = not any(node.op in ("_minus_scalar", "BatchNorm") for node in checkpoint.symbol.nodes)
    for figures in measure_parity(ours, theirs, ours.input_shape, centred=centred):
        assert figures.relative < parity_tolerance(checkpoint.symbol), figures
    assert np.isfinite(figures.largest)
