"""Composition, names and old files, side by side with real MXNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.graph.test_json_graph import old_batch_norm

from mxface.graph import NameManager, load_symbol, sym, symbol_from_text

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def arithmetic(module: Any) -> Any:
    a, b = module.Variable("a"), module.Variable("b")
    one = (a + b) * (a - b) / (b + 2) - 1.5
    return 3 - one * 2 + 1 / (one**2) - (-one)


def automatic_names(module: Any) -> Any:
    x = module.Variable("x")
    module.Flatten(x)  # counted, and in no graph
    body = module.Convolution(x, num_filter=4, kernel=(3, 3), no_bias=True)
    body = module.Activation(module.BatchNorm(body), act_type="relu")
    body = module.flip(module.broadcast_minus(body, module.mean(body, axis=[2, 3], keepdims=True)), axis=3)
    return module.Flatten(module.Concat(body, module.ElementWiseSum(body, body)))


def variables(module: Any) -> Any:
    weight = module.Variable("w", shape=(6, 12), lr_mult=2.0, wd_mult=0.0, init='["zero", {}]')
    body = module.FullyConnected(module.Variable("x"), weight=weight, num_hidden=6, lr_mult=0.5, name="f1")
    body = module.LeakyReLU(body, gamma=module.Variable("slope"), act_type="prelu", name="act")
    again = module.FullyConnected(module.Variable("y"), weight=weight, num_hidden=6, no_bias=True, name="f2")
    return module.Group([again, module.BlockGrad(body), module.SoftmaxOutput(again, name="softmax")])


def many_outputs(module: Any) -> Any:
    parts = module.SliceChannel(module.Variable("x"), num_outputs=3, name="cut")
    return module.Concat(parts[2], parts[0], module.Dropout(parts[1], p=0.2, attr={"__note__": "kept"}), dim=1)


@pytest.mark.parametrize("build", [arithmetic, automatic_names, variables, many_outputs])
def test_the_same_calls_give_the_same_text(build: Any) -> None:
    import mxnet as mx

    with NameManager(), mx.name.NameManager():
        ours, theirs = build(sym), build(mx.sym)
    assert ours.tojson() == theirs.tojson()
    assert ours.list_arguments() == theirs.list_arguments()
    assert ours.list_auxiliary_states() == theirs.list_auxiliary_states()
    assert ours.list_outputs() == theirs.list_outputs()
    assert ours.get_internals().list_outputs() == theirs.get_internals().list_outputs()


def test_files_of_every_age_are_brought_up_to_date_alike(assets: Path) -> None:
    import mxnet as mx

    paths = sorted(assets.glob("*/*-symbol.json"))
    assert paths
    for path in paths:
        assert load_symbol(path).tojson() == mx.sym.load(str(path)).tojson(), path


@pytest.mark.parametrize("attributes", [{}, {"attr": {"lr_mult": "0.5", "gamma_wd_mult": "0.0"}}])
def test_a_batch_norm_of_0_8(attributes: dict[str, Any]) -> None:
    import mxnet as mx

    text = old_batch_norm(**attributes)
    assert symbol_from_text(text).tojson() == mx.sym.load_json(text).tojson()
