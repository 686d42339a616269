"""MXNet itself as the engine: for those who must stay with it, and to hold the others against."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxface.errors import ConfigError, DependencyError
from mxface.graph import Symbol
from mxface.ops import Shape
from mxface.runtime.predictor import DATA, Predictor


class MxnetPredictor(Predictor):
    """Runs the graph as it is, in float32; keeps one executor, for the last shape."""

    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray], *, device: str) -> None:
        super().__init__(symbol, params)
        self._mx = import_mxnet()
        index = -1 if device == "cpu" else int(device.partition(":")[2] or 0)
        if index >= self._mx.context.num_gpus():
            raise ConfigError(f"this MXNet cannot compute on {device}; choose the CPU, or install a build for your GPU")
        self._context = self._mx.cpu() if index < 0 else self._mx.gpu(index)
        self._graph = self._mx.sym.load_json(symbol.tojson())
        states = set(symbol.list_auxiliary_states())
        arrays = {name: self._mx.nd.array(params[name]) for name in self._param_shapes}
        self._arguments = {name: array for name, array in arrays.items() if name not in states}
        self._states = {name: array for name, array in arrays.items() if name in states}
        self._executor: Any = None
        self._shape: Shape = ()

    def _run(self, data: np.ndarray) -> list[NDArray[np.float32]]:
        if data.shape != self._shape:
            self._executor = self._graph.simple_bind(self._context, grad_req="null", **{DATA: data.shape})
            self._executor.copy_params_from(self._arguments, self._states, allow_extra_params=True)
            self._shape = data.shape
        results = self._executor.forward(is_train=False, **{DATA: self._mx.nd.array(data.astype(np.float32))})
        return [result.asnumpy() for result in results]


def import_mxnet() -> Any:
    """The module `mxnet`. Raises DependencyError where it is not installed."""
    os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")  # 1.9.1's oneDNN subgraphs fail on these networks
    try:
        import mxnet
    except (ImportError, AttributeError) as exc:  # AttributeError: beside a newer numpy, which has no np.bool
        raise DependencyError(
            f"engine mxnet needs MXNet 1.9.1, which cannot be imported here ({exc}): pip install 'mxface[mxnet]' on "
            "Python 3.10 or 3.11 and x86-64 Linux; constraints-mxnet.txt lists versions that go together"
        ) from exc
    return mxnet
