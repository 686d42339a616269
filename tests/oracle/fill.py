"""The fill rule of the network oracle: every parameter and input from its own name (`networks/README.md` there)."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BLOCK = 8
"""Side of the constant squares of the second image."""


def read_facts(path: Path) -> dict[str, Any]:
    """A variant's `.facts.json`, or `.facts.json.gz`."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return json.loads(text)  # type: ignore[no-any-return]


def fill_parameter(name: str, shape: tuple[int, ...], gain: float) -> Array:
    """Uniform numbers of a range that the name decides."""
    low, high = _bounds(name, shape, gain)
    values = low + (high - low) * _uniform(name, int(np.prod(shape)))
    return values.reshape(shape).astype(np.float32)


def fill_images(shape: tuple[int, ...]) -> Array:
    """Whole numbers 0…255 of shape (2, 3, H, W): noise, then noise in squares."""
    images = np.floor(256.0 * _uniform("data", int(np.prod(shape)))).reshape(shape)
    rows, columns = (np.arange(side) // BLOCK * BLOCK for side in shape[2:])
    images[1] = images[1][:, rows][:, :, columns]
    return images.astype(np.float32)


def fill_network(facts: dict[str, Any]) -> dict[str, Array]:
    """Every argument (inputs included, for the numeric run) and auxiliary state, in file order."""
    return dict(_filled(facts))


def fill_crc32(filled: dict[str, Array]) -> str:
    """The figure that the facts store: a running crc32 over all filled bytes, in order."""
    crc = 0
    for values in filled.values():
        crc = zlib.crc32(np.ascontiguousarray(values).tobytes(), crc)
    return f"{crc:08x}"


def _filled(facts: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    rule = facts["fill"]
    input_shapes = {**rule.get("extra_input_shapes", {}), "data": rule["input_shape"]}
    for name, shape in facts["arguments"] + facts["aux"]:
        shape = tuple(input_shapes.get(name, shape))
        yield name, fill_images(shape) if name == "data" else fill_parameter(name, shape, rule["weight_gain"])


def _uniform(name: str, count: int) -> NDArray[np.float64]:
    return np.random.RandomState(zlib.crc32(name.encode())).random_sample(count)


def _bounds(name: str, shape: tuple[int, ...], gain: float) -> tuple[float, float]:
    if name.endswith(("_moving_var", "_running_var")):
        return 0.5, 1.5
    if name.endswith(("_moving_mean", "_running_mean", "_beta")):
        return -0.2, 0.2
    if name.endswith("_alpha") or (name.endswith("_gamma") and ("relu" in name or "_act" in name)):
        return 0.1, 0.4
    if name.endswith("_gamma"):
        return 0.7, 1.3
    if name.endswith("_bias"):
        return -0.1, 0.1
    if "label" in name:
        return 0.0, 1.0
    bound = float(np.sqrt(3.0 * gain / np.prod(shape[1:], dtype=np.int64)))
    return -bound, bound
