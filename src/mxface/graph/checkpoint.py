"""A saved model: `prefix-symbol.json` and `prefix-%04d.params`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mxface.errors import DataError, FormatError
from mxface.formats.checkpoint import list_epochs, params_path, symbol_path
from mxface.formats.params import read_params, write_params
from mxface.graph.symbol import Symbol, load_symbol

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """A graph with the values of its parameters and auxiliary states, by name."""

    symbol: Symbol
    arg_params: Arrays
    aux_params: Arrays


def load_checkpoint(prefix: str | os.PathLike[str], epoch: int) -> Checkpoint:
    """Read a model; arrays may be read-only views of the file.

    Raises DataError where there is none, FormatError or GraphError for files that do not hold one.
    """
    path = params_path(prefix, epoch)
    if not path.is_file():
        epochs = ", ".join(map(str, list_epochs(prefix))) or "none"
        raise DataError(f"{path}: no such file; a model is PREFIX,EPOCH, and the epochs of {prefix} here are: {epochs}")
    parts: dict[str, Arrays] = {"arg": {}, "aux": {}}
    for key, array in read_params(path).items():
        kind, _, name = key.partition(":")
        if kind not in parts or not name:
            raise FormatError(path, f"an array called {key!r}", "names that begin with arg: or aux:")
        parts[kind][name] = array
    return Checkpoint(load_symbol(symbol_path(prefix)), parts["arg"], parts["aux"])


def save_checkpoint(
    prefix: str | os.PathLike[str],
    epoch: int,
    symbol: Symbol,
    arg_params: Mapping[str, np.ndarray],
    aux_params: Mapping[str, np.ndarray],
) -> None:
    """Write a model, graph first; each file appears whole or not at all."""
    symbol.save(symbol_path(prefix))
    arrays = {f"arg:{name}": array for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": array for name, array in aux_params.items()})
    write_params(params_path(prefix, epoch), arrays)
