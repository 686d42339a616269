"""How near two engines are on the same images: the figures that an exported model is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mxface.graph import Symbol
from mxface.ops import Shape

if TYPE_CHECKING:
    from mxface.runtime import Predictor

Array = NDArray[np.float32]

TOLERANCE = 1e-4
"""Of an output's standard deviation."""

DEFORMABLE_TOLERANCE = 1e-3
"""A tap that rounding moves over the border jumps from the border's value to 0."""

BATCH_SIZES = (1, 5)
BLOCK = 8
"""Side of the squares of the smooth half of the images."""


@dataclass(frozen=True)
class Parity:
    """The largest difference of one output; `relative` is in standard deviations of the reference's values.

    `shape` is that of the last batch.
    """

    output: str
    shape: Shape
    largest: float
    relative: float


def parity_tolerance(symbol: Symbol) -> float:
    """The largest `relative` that two right engines may have on this network."""
    has_jumps = any(node.op == "_contrib_DeformableConvolution" for node in symbol.nodes)
    return DEFORMABLE_TOLERANCE if has_jumps else TOLERANCE


def measure_parity(
    reference: Predictor,
    candidate: Predictor,
    image_shape: Shape,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    centred: bool = False,
) -> list[Parity]:
    """Compare two engines of one network on random images (C, H, W), in batches of these sizes, output by output.

    Pixels are 0 to 255; `centred` are (x - 127.5) / 128, for networks that leave this to the caller.
    """
    batches: list[NDArray[Any]] = [random_images(count, image_shape) for count in batch_sizes]
    if centred:
        batches = [((images - 127.5) / 128).astype(np.float32) for images in batches]
    expected = zip(*map(reference.predict, batches), strict=True)
    found = zip(*map(candidate.predict, batches), strict=True)
    return list(map(compare, reference.output_names, expected, found))


def compare(name: str, expected: Sequence[Array], found: Sequence[Array]) -> Parity:
    """The difference of one output, whose values on several batches are given.

    It is infinite where a shape is another, or a value is not finite.
    """
    shape = expected[-1].shape
    if [array.shape for array in found] != [array.shape for array in expected]:
        return Parity(name, shape, np.inf, np.inf)
    values, others = (np.concatenate([array.ravel() for array in arrays]) for arrays in (expected, found))
    if not np.isfinite(others).all():
        return Parity(name, shape, np.inf, np.inf)
    largest = float(np.abs(others - values).max())
    # equal values have no deviation
    scale = float(values.std()) or float(np.abs(values).max()) or 1.0
    return Parity(name, shape, largest, largest / scale)


def random_images(count: int, shape: Shape, seed: int = 0) -> NDArray[np.uint8]:
    """Images (count, C, H, W) of any brightness: noise on every other one, squares of one colour on the rest."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    rows, columns = (np.arange(side) // BLOCK * BLOCK for side in shape[1:])
    images[::2] = images[::2, :, rows][..., columns]
    return images
