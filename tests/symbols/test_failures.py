"""What the original could not build (`oracle/networks/FAILURES.json`) is refused here in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support import ORACLE

from mxface.errors import ConfigError
from mxface.symbols import FAMILIES, get_symbol

FRESNET, ANY = "recognition/symbol/fresnet.py", "recognition/symbol/*.py"

REFUSALS: dict[tuple[str, str], tuple[dict[str, Any], str]] = {
    (FRESNET, "any depth, net_unit=4"): ({"num_layers": 50, "net_unit": 4}, "net_unit=4 was never written in 2019"),
    (FRESNET, "num_layers=500 (or any unlisted depth)"): ({"num_layers": 500}, "fresnet has no num_layers=500; choose"),
    (FRESNET, "num_layers=18, net_input=0, net_output=GDC"): (
        {"num_layers": 18, "net_input": 0, "net_output": "GDC"},
        r"net_output='GDC'\) cannot take images of 112x112: Convolution 'conv_6dw7_7_.*window of 7 does not fit",
    ),
    (ANY, 'net_output="A" or any unknown letter'): (
        {"num_layers": 18, "net_output": "A"},
        "net_output='A' does not exist; choose one of E, F, FC, G",
    ),
}
"""(source, call) as the file has them -> options of fresnet, and what we say."""

FAILURES = ORACLE / "networks" / "FAILURES.json"
CALLS = [(entry["source"], entry["call"]) for entry in json.loads(FAILURES.read_text())] if FAILURES.is_file() else []


def concerns_what_is_built(source: str) -> bool:
    return source == ANY or any(source == f"recognition/symbol/{name}.py" for name in FAMILIES["recognition"].networks)


def test_every_failure_of_a_network_that_is_built_is_here(oracle: Path) -> None:
    assert {call for call in CALLS if concerns_what_is_built(call[0])} == set(REFUSALS)


@pytest.mark.parametrize("call", REFUSALS, ids=lambda call: call[1])
def test_refused_in_words(call: tuple[str, str]) -> None:
    options, message = REFUSALS[call]
    with pytest.raises(ConfigError, match=message):
        get_symbol("fresnet", **options)
