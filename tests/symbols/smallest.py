"""Every network of FAMILIES at its smallest: the options without a default filled in."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from mxface.graph import Symbol
from mxface.symbols import FAMILIES, get_symbol

DEPTHS = {"fresnet": (18, 34), "fdensenet": (121, 169), "fdpn": (68, 92), "spherenet": (20, 36)}
"""The two smallest `num_layers` of the networks that need one."""

NETWORKS = [(family, name) for family, members in FAMILIES.items() for name in members.networks]


def build(name: str, *, family: str = "recognition", **options: Any) -> Symbol:
    needed: dict[str, Any] = {}
    if name in DEPTHS:
        needed["num_layers"] = DEPTHS[name][0]
    if family == "retinaface":
        needed["backbone"] = small_backbone()
    return get_symbol(name, family=family, **{**needed, **options})


@cache
def small_backbone() -> Symbol:
    """A mobile network of a quarter's width, with maps of stride 4 to 32."""
    network = get_symbol("fmobilenet", family="gender_age", net_multiplier=0.25, net_input=0, net_output="GAP")
    return network.get_internals()["conv_14_relu_output"]


def parameters(networks: list[tuple[str, str]]) -> list[Any]:
    """For parametrize: fxception, with its 35 000 nodes, among the slow tests."""
    return [
        pytest.param(family, name, marks=pytest.mark.slow if name == "fxception" else (), id=f"{family}-{name}")
        for family, name in networks
    ]
