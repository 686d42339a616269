"""What the benches of training share: a config that never saves or drops its rate, and a network's first parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from mxface.graph import Symbol
from mxface.train.config import TrainConfig
from mxface.train.initializer import init_params


def endless_config(**changes: Any) -> TrainConfig:
    """2019's rates, and nothing on the way but batches."""
    never = 10**9
    defaults: dict[str, Any] = {"lr": 0.1, "wd": 0.0005, "mom": 0.9, "seed": 0, "dtype": "float32", "wd_scope": "all"}
    loop = {"lr_steps": (never,), "frequent": 20, "verbose": never, "state_steps": 0, "ckpt": 0, "max_steps": 0}
    return TrainConfig(**{**defaults, **loop, **changes})


def start_params(embedding: Symbol, net_name: str, rng: np.random.Generator, side: int = 112) -> dict[str, np.ndarray]:
    """The initial arguments and auxiliary states, for images of side x side."""
    arguments, _, states = embedding.infer_shape(data=(1, 3, side, side))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    return init_params(embedding, shapes, net_name, rng)
