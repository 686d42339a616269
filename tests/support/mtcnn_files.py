"""MTCNN networks of constant opinions: their weights are zero, so they answer with the biases of their heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mxface.graph import save_checkpoint
from mxface.symbols import mtcnn

# Where the landmarks are in a box, in shares of it: x, then y.
LANDMARK = (0.32, 0.68, 0.5, 0.35, 0.65, 0.4, 0.4, 0.6, 0.78, 0.78)


def save_constant_mtcnn(folder: Path, *, everywhere: bool = True, never: bool = False) -> Path:
    """Write det1-3 that take every place for a face (PNet none, unless `everywhere`; ONet none, if `never`)."""
    folder.mkdir(parents=True, exist_ok=True)
    yes, no = (-4.0, 4.0), (4.0, -4.0)
    networks = {
        "det1": (mtcnn.pnet(), (40, 40), {"conv4_1_bias": yes if everywhere else no}),
        "det2": (mtcnn.rnet(), (24, 24), {"conv5_1_bias": yes}),
        "det3": (mtcnn.onet(), (48, 48), {"conv6_1_bias": no if never else yes, "conv6_3_bias": LANDMARK}),
    }
    for name, (symbol, size, biases) in networks.items():
        shapes = symbol.infer_shape(data=(1, 3, *size))[0]
        params = {
            key: np.zeros(shape, np.float32) for key, shape in shapes.items() if key not in ("data", "prob1_label")
        }
        params |= {key: np.array(values, np.float32) for key, values in biases.items()}
        save_checkpoint(folder / name, 1, symbol, params, {})
    return folder


def landmark_in(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """The points (5, 2) that these networks put into a box."""
    shares = np.array(LANDMARK).reshape(2, 5).T
    return shares * (x2 - x1 + 1, y2 - y1 + 1) + (x1, y1)
