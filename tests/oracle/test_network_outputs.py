"""Our networks, filled by the oracle's rule and lowered, give the outputs that the original gave on MXNet.

A third of the variants (by the crc32 of the name, at least one of a network) runs always, the others with `--slow`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.oracle.fill import fill_crc32, fill_network
from tests.oracle.network_cases import BUILT, NetworkCase

from mxface.lower import lower

TOLERANCE = 1e-4
"""Of the standard deviation of a stored output; MXNet with other convolution code differs by up to 1.1e-5."""

DEFORMABLE_TOLERANCE = 1e-3
"""A tap that noise moves over the border jumps from the border's value to 0; MXNet itself differs by up to 9.1e-5."""

NUMERIC = [case for case in BUILT if case.path.with_name(f"{case.variant}.out.npy").exists()]


def name_crc32(case: NetworkCase) -> int:
    return zlib.crc32(case.label.encode())


FIRST_OF_NETWORK = {case.path.parent: case for case in sorted(NUMERIC, key=name_crc32, reverse=True)}


def runs_always(case: NetworkCase) -> bool:
    return name_crc32(case) % 3 == 0 or case is FIRST_OF_NETWORK[case.path.parent]


PARAMETERS = [
    pytest.param(case, marks=() if runs_always(case) else pytest.mark.slow, id=case.label) for case in NUMERIC
]


def stored_pieces(case: NetworkCase) -> Iterator[tuple[dict[str, Any], NDArray[np.float32]]]:
    """The facts of each output, and its stored values, flat."""
    stored = np.load(case.path.with_name(f"{case.variant}.out.npy")).ravel()
    for piece in case.facts["numeric"]["outputs"]:
        yield piece, stored[piece["offset"] : piece["offset"] + piece["count"]]


def difference(ours: NDArray[np.float32], stored: NDArray[np.float32]) -> float:
    """In standard deviations; relative for a piece of one value, which has none."""
    scale = stored.std() if stored.size > 1 else np.abs(stored).max()
    return float(np.abs(ours - stored).max() / scale)


def test_the_oracle_has_cases(oracle: Path) -> None:
    assert NUMERIC, f"no outputs of a network that is built here in {oracle}"
    assert sum(map(runs_always, NUMERIC)) >= len(NUMERIC) / 4


@pytest.mark.parametrize("case", PARAMETERS)
def test_outputs(case: NetworkCase) -> None:
    filled = fill_network(case.facts)
    assert fill_crc32(filled) == case.facts["fill"]["crc32"]
    inputs = {name: filled.pop(name) for name in ("data", *case.facts["fill"].get("extra_input_shapes", ()))}
    shapes = {name: array.shape for name, array in inputs.items()}
    network = lower(case.build(), filled, inputs=tuple(inputs), input_shapes=shapes).eval()
    with torch.inference_mode():
        results = network(*map(torch.from_numpy, inputs.values()))
    outputs = [results] if isinstance(results, torch.Tensor) else results
    tolerance = DEFORMABLE_TOLERANCE if any("Deformable" in op for op in case.facts["op_histogram"]) else TOLERANCE
    for output, (piece, stored) in zip(outputs, stored_pieces(case), strict=True):
        assert list(output.shape) == piece["shape"]
        assert difference(output.flatten()[:: piece["stride"]].numpy(), stored) < tolerance
