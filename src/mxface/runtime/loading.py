"""From files, or a checkpoint in memory, to a Predictor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mxface.errors import ConfigError
from mxface.graph import Checkpoint, Symbol, load_checkpoint
from mxface.runtime.device import choose_device
from mxface.runtime.predictor import Predictor

DTYPES = ("float32", "bf16")


def load_predictor(
    prefix: str | os.PathLike[str],
    epoch: int,
    *,
    outputs: Sequence[str] | None = None,
    engine: str = "torch",
    device: str | None = None,
    dtype: str = "float32",
) -> Predictor:
    """Read `prefix-symbol.json` and `prefix-%04d.params`, and make them ready; see `build_predictor`."""
    return build_predictor(load_checkpoint(prefix, epoch), outputs=outputs, engine=engine, device=device, dtype=dtype)


def build_predictor(
    checkpoint: Checkpoint,
    *,
    outputs: Sequence[str] | None = None,
    engine: str = "torch",
    device: str | None = None,
    dtype: str = "float32",
) -> Predictor:
    """Make a network ready to run.

    `outputs` are names from anywhere in the graph (`fc1_output`), by default its heads. `device` is "cpu" or "cuda:0",
    by default the first GPU, else the CPU; for the other engines the CPU, as their packages on PyPI know no other.
    "bf16" computes convolutions and fully connected layers in bfloat16.

    Raises ConfigError for an unknown or impossible choice, DependencyError for an engine that is not installed,
    GraphError for an output that does not exist or parameters that do not fit the graph.
    """
    if engine not in ENGINES:
        raise ConfigError(f"there is no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if dtype not in DTYPES:
        raise ConfigError(f"there is no dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
    symbol = checkpoint.symbol.select_outputs(outputs) if outputs else checkpoint.symbol
    params = {**checkpoint.arg_params, **checkpoint.aux_params}
    device = device or (choose_device(None) if engine == "torch" else "cpu")
    return ENGINES[engine](symbol, params, device, dtype)


def _torch_predictor(symbol: Symbol, params: Mapping[str, np.ndarray], device: str, dtype: str) -> Predictor:
    from mxface.runtime.torch_engine import TorchPredictor

    return TorchPredictor(symbol, params, device=device, dtype=dtype)


def _mxnet_predictor(symbol: Symbol, params: Mapping[str, np.ndarray], device: str, dtype: str) -> Predictor:
    from mxface.runtime.mxnet_engine import MxnetPredictor

    _require_float32("mxnet", dtype)
    return MxnetPredictor(symbol, params, device=device)


def _onnxruntime_predictor(symbol: Symbol, params: Mapping[str, np.ndarray], device: str, dtype: str) -> Predictor:
    from mxface.runtime.onnxruntime_engine import OnnxruntimePredictor

    _require_float32("onnxruntime", dtype)
    return OnnxruntimePredictor(symbol, params, device=device)


def _require_float32(engine: str, dtype: str) -> None:
    if dtype != "float32":
        raise ConfigError(f"engine {engine} computes in float32 only; leave dtype {dtype} to engine torch")


ENGINES = {"torch": _torch_predictor, "mxnet": _mxnet_predictor, "onnxruntime": _onnxruntime_predictor}
