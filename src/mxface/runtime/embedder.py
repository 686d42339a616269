"""The view that judges take of a network: photographs in, embeddings out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mxface.errors import GraphError
from mxface.runtime.predictor import Predictor

Embedder = Callable[[np.ndarray], NDArray[np.float32]]


def make_embedder(predictor: Predictor, *, output: str = "fc1_output") -> Embedder:
    """A function from images, uint8 (B, H, W, 3) RGB, to embeddings (B, D), not normalised.

    Raises GraphError when the predictor does not give `output`.
    """
    if output not in predictor.output_names:
        raise GraphError(f"the network gives {', '.join(predictor.output_names)}, not {output}")
    position = predictor.output_names.index(output)

    def embed(images: np.ndarray) -> NDArray[np.float32]:
        return predictor.predict(images.transpose(0, 3, 1, 2))[position]

    return embed
