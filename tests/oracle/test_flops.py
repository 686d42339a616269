"""FLOPs as 2019's log printed them (`oracle/runs/flops`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.oracle.network_cases import BUILT, NetworkCase
from tests.support import ORACLE

from mxface.graph import load_symbol
from mxface.graph.flops import count_flops, flops_text

INPUT = (1, 3, 112, 112)
PATH = ORACLE / "runs" / "flops" / "flops.json"
STORED: dict[str, Any] = json.loads(PATH.read_text()) if PATH.is_file() else {}
NAMED = [case for case in BUILT if case.family == "recognition" and case.variant in STORED]


def test_the_oracle_has_cases(oracle: Path) -> None:
    assert NAMED, f"{PATH} names no network that is built here"


@pytest.mark.parametrize("case", NAMED, ids=lambda case: case.label)
def test_named_networks(case: NetworkCase) -> None:
    stored = STORED[case.variant]
    flops = count_flops(case.build(), data=INPUT)
    assert flops == stored["flops"]
    assert flops_text(flops) == stored["text"]


def test_the_shipped_model(oracle: Path, assets: Path) -> None:
    symbol = load_symbol(assets / "mobilefacenet-y1" / "model-symbol.json")
    assert count_flops(symbol, data=INPUT) == STORED["shipped_y1_model"]["flops"]


def test_the_text_rule(oracle: Path) -> None:
    rule = STORED["text_rule"]
    assert {number: flops_text(float(number)) for number in rule} == rule
