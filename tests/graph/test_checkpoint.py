"""Models on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mxface.errors import FormatError
from mxface.formats.params import write_params
from mxface.graph import Variable, load_checkpoint, save_checkpoint, sym


def test_a_model_is_read_back(tmp_path: Path) -> None:
    net = sym.FullyConnected(sym.BatchNorm(Variable("data"), name="bn"), num_hidden=2, name="fc")
    arguments = {"fc_weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bn_gamma": np.ones(3, np.float32)}
    states = {"bn_moving_mean": np.zeros(3, np.float32)}
    save_checkpoint(tmp_path / "model", 3, net, arguments, states)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-0003.params", "model-symbol.json"]
    model = load_checkpoint(tmp_path / "model", 3)
    assert model.symbol.tojson() == net.tojson()
    assert {name: array.tolist() for name, array in model.arg_params.items()} == {
        name: array.tolist() for name, array in arguments.items()
    }
    assert {name: array.tolist() for name, array in model.aux_params.items()} == {"bn_moving_mean": [0.0, 0.0, 0.0]}


def test_arrays_without_a_kind_are_refused(tmp_path: Path) -> None:
    Variable("data").save(tmp_path / "model-symbol.json")
    write_params(tmp_path / "model-0000.params", {"fc_weight": np.zeros(2, np.float32)})
    with pytest.raises(FormatError, match=r"model-0000.params: found an array called 'fc_weight', expected names that"):
        load_checkpoint(tmp_path / "model", 0)


def test_the_mobilefacenet_of_2018(assets: Path) -> None:
    model = load_checkpoint(assets / "mobilefacenet-y1" / "model", 0)
    arguments, outputs, states = model.symbol.infer_shape(data=(1, 3, 112, 112))
    assert outputs == [(1, 128)]
    assert {name: array.shape for name, array in model.aux_params.items()} == states
    assert {name: array.shape for name, array in model.arg_params.items()} == {
        name: shape for name, shape in arguments.items() if name != "data"
    }
