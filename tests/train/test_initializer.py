"""The rules that choose an initialiser, and the distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.symbols import smallest

from mxface import graph
from mxface.errors import GraphError
from mxface.graph import sym
from mxface.train.initializer import Xavier, init_params, parse_initializer, xavier_of_network


def small_network() -> graph.Symbol:
    data = graph.Variable("data")
    net = sym.Convolution(data, num_filter=64, kernel=(3, 3), num_group=2, name="conv")
    net = sym.LeakyReLU(sym.BatchNorm(net, name="bn"), act_type="prelu", name="relu")
    weight = graph.Variable("fc7_weight", shape=(50, 64 * 8 * 8), init='["normal", {"sigma": 0.01}]')
    return sym.FullyConnected(net, weight=weight, num_hidden=50, name="fc7")


def initial_values(net_name: str, seed: int = 0) -> dict[str, np.ndarray]:
    symbol = small_network()
    arguments, _, auxiliary = symbol.infer_shape(data=(1, 32, 10, 10))
    del arguments["data"]
    return init_params(symbol, {**arguments, **auxiliary}, net_name, np.random.default_rng(seed))


@pytest.mark.parametrize("net_name", ["fresnet", "fmobilefacenet", "fxception", "fmobilenet", "fdensenet"])
def test_every_variable_by_its_rule(net_name: str) -> None:
    values = initial_values(net_name)
    assert all(value.dtype == np.float32 for value in values.values())
    constants = {name: set(value.ravel().tolist()) for name, value in values.items() if not name.endswith("weight")}
    assert constants == {
        "conv_bias": {0.0}, "bn_gamma": {1.0}, "bn_beta": {0.0}, "bn_moving_mean": {0.0}, "bn_moving_var": {1.0},
        "relu_gamma": {0.25}, "fc7_bias": {0.0},
    }  # fmt: skip
    assert values["fc7_weight"].std() == pytest.approx(0.01, rel=0.01)
    weight = values["conv_weight"]
    assert weight.shape == (64, 16, 3, 3)
    if net_name in ("fresnet", "fmobilefacenet"):
        assert weight.std() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.03)
    elif net_name == "fxception":
        assert weight.std() == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.03)
    else:
        bound = math.sqrt(2 / (16 * 9))
        assert 0.99 * bound < np.abs(weight).max() <= bound
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_seed_decides() -> None:
    first, again, other = (initial_values("fresnet", seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["conv_weight"], other["conv_weight"])


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ('["Constant", {"value": 0.25}]', 0.25, 0.25),
        ('["zero", {}]', 0, 0),
        ("ones", 1, 1),
        ('["uniform", {"scale": 0.5}]', -0.5, 0.5),
        ('["xavier", {"rnd_type": "uniform", "factor_type": "avg", "magnitude": 3}]', -0.5, 0.5),
    ],
)
def test_attributes(text: str, low: float, high: float) -> None:
    values = parse_initializer(text, "x")((12, 12), np.random.default_rng(0))
    assert values.min() == pytest.approx(low, abs=0.05)
    assert values.max() == pytest.approx(high, abs=0.05)
    assert low <= values.min() <= values.max() <= high


@pytest.mark.parametrize(
    "text", ["magic", '["magic", {}]', '["normal", {"mean": 1}]', "[3]", '["xavier", {"rnd_type": "x"}]']
)
def test_unreadable_attributes_name_the_variable(text: str) -> None:
    with pytest.raises(GraphError, match="variable fc7_weight"):
        parse_initializer(text, "fc7_weight")


def test_a_variable_without_a_rule() -> None:
    symbol = graph.Variable("data") + graph.Variable("offset")
    with pytest.raises(GraphError, match="variable offset"):
        init_params(symbol, {"offset": (3,)}, "fresnet", np.random.default_rng(0))


def test_xavier_needs_a_matrix() -> None:
    with pytest.raises(GraphError, match="two dimensions"):
        xavier_of_network("fresnet")((3,), np.random.default_rng(0))
    assert xavier_of_network("fdensenet") == Xavier("uniform", "in", 2)


@pytest.mark.parametrize(("family", "name"), smallest.parameters(smallest.NETWORKS))
def test_every_network_has_a_beginning(family: str, name: str) -> None:
    symbol = smallest.build(name, family=family)
    shape = (1, 3, 112, 112) if family != "alignment" else (1, 3, 128, 128)
    arguments, _, states = symbol.infer_shape(data=shape)
    shapes = {key: value for key, value in {**arguments, **states}.items() if key != "data"}
    values = init_params(symbol, shapes, name, np.random.default_rng(0))
    assert values.keys() == shapes.keys()
    assert all(np.isfinite(value).all() for value in values.values())
    slopes = {float(value.mean()) for key, value in values.items() if key.endswith(("_alpha", "relu_gamma"))}
    assert slopes <= {0.25}
