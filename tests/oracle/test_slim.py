"""model_slim as the 2019 original does it (oracle/runs/slim)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mxface.deploy.model_slim import main
from mxface.formats.checkpoint import list_epochs
from mxface.graph import Symbol, Variable, load_checkpoint, save_checkpoint, sym


@pytest.fixture(scope="module")
def fact(oracle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((oracle / "runs" / "slim" / "slim.json").read_text())
    assert found["in_args"]
    return found


def with_classifier(embedding: Symbol, num_classes: int) -> Symbol:
    fc7 = sym.FullyConnected(data=embedding, num_hidden=num_classes, no_bias=True, name="fc7")
    return sym.SoftmaxOutput(data=fc7, label=Variable("softmax_label"), name="softmax")


def test_slim_drops_the_classifier_and_nothing_else(
    fact: dict[str, Any], assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y1 = load_checkpoint(assets / "mobilefacenet-y1" / "model", 0)
    fc7_weight = np.random.default_rng(0).normal(0, 0.01, (10, 128)).astype(np.float32)
    symbol = with_classifier(y1.symbol.get_internals()["fc1_output"], 10)
    assert sorted(symbol.list_arguments()) == sorted(fact["in_args"])
    prefix = tmp_path / "slim_open"
    save_checkpoint(prefix, 60, symbol, {**y1.arg_params, "fc7_weight": fc7_weight}, y1.aux_params)

    assert main(["--model", f"{prefix},60"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.splitlines()[0] == f"loading {prefix} 60"
    assert (tmp_path / fact["out_name"]).is_file()
    assert list_epochs(f"{prefix}s") == [0]
    slim = load_checkpoint(f"{prefix}s", 0)
    assert slim.symbol.list_outputs() == fact["out_outputs"]
    assert slim.symbol.list_arguments() == fact["out_args"]
    assert len(slim.arg_params) == fact["n_out"]
    assert [name for name in slim.arg_params if name.startswith("fc7")] == fact["fc7_left"]
    assert len(slim.aux_params) == fact["aux"]
    for name, array in y1.arg_params.items():
        np.testing.assert_array_equal(slim.arg_params[name], array)
