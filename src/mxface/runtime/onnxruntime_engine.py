"""ONNX Runtime as the engine: the graph, exported in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from mxface.errors import ConfigError, DependencyError
from mxface.export.onnx import to_onnx
from mxface.graph import Symbol
from mxface.runtime.predictor import DATA, Predictor


class OnnxruntimePredictor(Predictor):
    """Runs in float32, with as many threads as torch uses; `model` is the graph's ONNX form, where it is at hand."""

    def __init__(
        self, symbol: Symbol, params: Mapping[str, np.ndarray], *, device: str, model: bytes | None = None
    ) -> None:
        super().__init__(symbol, params)
        try:
            import onnxruntime
        except ImportError as exc:
            raise DependencyError("engine onnxruntime needs ONNX Runtime: pip install 'mxface[onnx]'") from exc
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise ConfigError(
                f"this ONNX Runtime cannot compute on {device}; choose the CPU, or install onnxruntime-gpu"
            )
        if model is None:
            model = to_onnx(symbol, params, input_shapes={DATA: (1, *self.input_shape)}).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=[provider])

    def _run(self, data: np.ndarray) -> list[NDArray[np.float32]]:
        results: list[NDArray[np.float32]] = self._session.run(None, {DATA: data.astype(np.float32, order="C")})
        return results
