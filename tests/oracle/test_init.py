"""Initial parameters against those of 2019's initialiser on real MXNet: the same constants, the same distributions."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import ORACLE

from mxface.graph import Group, Symbol, Variable, sym
from mxface.symbols import FAMILIES, get_symbol
from mxface.train.initializer import init_params

INIT = ORACLE / "runs" / "init" / "xavier.json"
CASES: dict[str, Any] = json.loads(INIT.read_text()) if INIT.is_file() else {}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {  # what 2019's --network names mean
    "y1": ("fmobilefacenet", {"emb_size": 128, "net_output": "GDC"}),
    "m1": ("fmobilenet", {"emb_size": 256, "net_output": "GDC"}),
}
SIGMAS = 6  # a right sampler leaves this band once in 5e8 figures
FC7_INIT = '["normal", {"sigma": 0.01}]'


def stored(case: str) -> dict[str, Any]:
    parameters: dict[str, Any] = CASES[case]["params"]
    return parameters


def symbol_of(case: str) -> Symbol:
    """The network with fc7 on top; for one that is not built yet, its variables alone."""
    net_name, options = NETWORKS[case]
    fc7_weight = Variable("fc7_weight", init=FC7_INIT)
    if net_name in FAMILIES["recognition"].networks:
        embedding = get_symbol(net_name, **options)
        return sym.FullyConnected(embedding, weight=fc7_weight, no_bias=True, num_hidden=1000, name="fc7")
    slope = '["Constant", {"value": 0.25}]'
    names = [name for name in stored(case) if name != "fc7_weight"]
    return Group([*(Variable(n, init=slope if n.endswith("relu_gamma") else None) for n in names), fc7_weight])


@cache
def ours(case: str) -> dict[str, NDArray[np.float32]]:
    shapes = {name: tuple(facts["shape"]) for name, facts in stored(case).items()}
    return init_params(symbol_of(case), shapes, NETWORKS[case][0], np.random.default_rng(7))


def test_the_oracle_has_cases(oracle: object) -> None:
    assert CASES


@pytest.mark.parametrize("case", CASES)
def test_constants(case: str) -> None:
    constants = {name: facts["mean"] for name, facts in stored(case).items() if facts["std"] == 0}
    assert {name: ours(case)[name].min() for name in constants} == constants
    assert {name: ours(case)[name].max() for name in constants} == constants
    assert ours(case).keys() == stored(case).keys()


@pytest.mark.parametrize("case", CASES)
def test_mean_and_deviation_of_every_weight(case: str) -> None:
    for name, facts in stored(case).items():
        if facts["std"] == 0:
            continue
        values = ours(case)[name]
        assert values.shape == tuple(facts["shape"])
        deviation = expected_deviation(facts)
        for mean, std in ((values.mean(), values.std()), (facts["mean"], facts["std"])):  # ours and MXNet's alike
            assert abs(mean) < SIGMAS * deviation / math.sqrt(values.size), name
            assert abs(std / deviation - 1) < SIGMAS / math.sqrt(2 * values.size), name


@pytest.mark.parametrize("case", CASES)
def test_shape_of_the_distribution(case: str) -> None:
    """All Xavier weights of a network, in units of their own scale: the share below each of some points."""
    xavier = {name: facts["expect"]["expect"] for name, facts in stored(case).items() if facts["expect"]}
    kinds = {kind for kind, _ in xavier.values()}
    assert len(kinds) == 1
    values = np.concatenate([ours(case)[name].ravel() / scale for name, (_, scale) in xavier.items()])
    for point in (-2.0, -1.0, -0.5, 0.0, 0.7, 1.0, 2.5):
        uniform_share = min(max((point + 1) / 2, 0), 1)
        share = (1 + math.erf(point / math.sqrt(2))) / 2 if kinds == {"std"} else uniform_share
        spread = math.sqrt(share * (1 - share) / len(values))
        assert abs((values <= point).mean() - share) <= SIGMAS * spread + 1e-7, point


def expected_deviation(facts: dict[str, Any]) -> float:
    """Standard deviation by the stored formula; fc7_weight has none there, and 0.01."""
    kind, scale = facts["expect"]["expect"] if facts["expect"] else ("std", 0.01)
    return float(scale if kind == "std" else scale / math.sqrt(3))
