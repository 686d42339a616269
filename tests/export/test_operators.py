"""Every lowered operator has an ONNX form that ONNX Runtime computes to the lowered graph's values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.lower.cases import CASES, Array, Case

from mxface.errors import GraphError
from mxface.export.onnx import to_onnx
from mxface.export.registry import EXPORTERS, TRAINING_ONLY, alike, register
from mxface.lower import LOWERINGS, lower

TOLERANCE = 1e-5
"""Of the largest value; GridSample's rounded positions cost as much again."""


def test_what_is_lowered_can_be_exported() -> None:
    assert EXPORTERS.keys() == LOWERINGS.keys() - TRAINING_ONLY.keys()


def test_an_operator_is_registered_once() -> None:
    with pytest.raises(GraphError, match="operator Flatten has two ONNX forms"):
        register("Flatten", alike("Flatten"))


def batches(case: Case) -> list[str]:
    """The inputs whose first axis is that of the batch; the others are handed over as parameters."""
    shapes = zip(case.input_names, case.shapes, strict=True)
    return [name for name, shape in shapes if shape[0] == case.shapes[-1 if case.op == "broadcast_div" else 0][0]]


def run_onnx(case: Case, arrays: dict[str, Array]) -> list[Array]:
    runtime = pytest.importorskip("onnxruntime")
    inputs = {name: arrays[name] for name in batches(case)}
    model = to_onnx(case.symbol(), arrays, input_shapes={name: array.shape for name, array in inputs.items()})
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    read = {value.name for value in model.graph.input}
    return session.run(None, {name: array for name, array in inputs.items() if name in read})  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_agrees_with_the_lowered_graph(case: Case) -> None:
    arrays = case.arrays()
    with torch.no_grad():
        results = lower(case.symbol(), arrays, inputs=case.input_names).eval()(
            *(torch.from_numpy(arrays[name]) for name in case.input_names)
        )
    expected = [results] if isinstance(results, torch.Tensor) else results
    for ours, theirs in zip(run_onnx(case, arrays), expected, strict=True):
        assert ours.shape == tuple(theirs.shape)
        limit = TOLERANCE * max(1.0, float(theirs.abs().max()))
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=limit)
