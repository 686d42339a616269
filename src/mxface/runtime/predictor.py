"""What every engine offers: arrays in, arrays out, any number of images at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mxface.errors import DataError, GraphError
from mxface.graph import Symbol
from mxface.ops import Shape

DATA = "data"
"""The name of a network's input."""

USUAL_CHANNELS = (3, 15, 1)
"""Colour; MTCNN's det4 takes five colour patches; grey."""

USUAL_SIDES = (112, 24, 48, 12, 128, 96, 224, 160, 256, 64, 640)
"""Of square inputs, most usual first."""


class Predictor(ABC):
    """A network ready to run. Not for several threads at once.

    `symbol` has the wanted outputs as its heads; `params` are all arrays by name.
    """

    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray]) -> None:
        self.output_names = symbol.list_outputs()
        self._symbol = symbol
        variables = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
        self._param_shapes = {name: array.shape for name, array in params.items() if name in variables}
        self._fitting: set[Shape] = set()

    @cached_property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) that the parameters fit; where they fit several (a network may take any size), the most usual.

        Raises GraphError where they fit none.
        """
        return self.fitting_shape([(side, side) for side in USUAL_SIDES])

    def fitting_shape(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
        """(C, H, W) that the parameters fit: the first of these sizes (H, W) that goes with a usual C.

        Raises GraphError where they fit none.
        """
        for channels, (height, width) in product(USUAL_CHANNELS, sizes):
            try:
                self.output_shapes((channels, height, width))
            except GraphError:
                continue
            return channels, height, width
        tried = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise GraphError(f"the network takes no image of {USUAL_CHANNELS} channels and {tried} pixels")

    def output_shapes(self, image_shape: Shape) -> list[Shape]:
        """Shapes of the outputs for one image (C, H, W).

        Raises GraphError naming the first node that does not fit.
        """
        return self._symbol.infer_shape(**self._param_shapes, **{DATA: (1, *image_shape)})[1]

    def predict(self, data: np.ndarray) -> list[NDArray[np.float32]]:
        """Run images (N, C, H, W), uint8 or float32; give one array an output, in the order of `output_names`.

        Raises DataError for an array of another kind, GraphError for a size that the network cannot take.
        """
        if data.ndim != 4 or data.dtype not in (np.uint8, np.float32) or not len(data):
            raise DataError(f"images must be (N, C, H, W), uint8 or float32, N > 0; not {data.shape} of {data.dtype}")
        if data.shape[1:] not in self._fitting:
            self.output_shapes(data.shape[1:])
            self._fitting.add(data.shape[1:])
        return self._run(data)

    @abstractmethod
    def _run(self, data: np.ndarray) -> list[NDArray[np.float32]]:
        """`predict`, for images that fit."""
