"""The entries of sample_config.py are the networks that 2019 built for these names, node for node."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from tests.oracle.network_cases import CASES, NetworkCase
from tests.support import REPOSITORY

from mxface.formats.symbol_json import nodes_crc32
from mxface.recognition.config import read_network
from mxface.recognition.config_file import read_config_file
from mxface.symbols import get_symbol

SAMPLE = REPOSITORY / "sample_config.py"
ENTRIES: dict[str, dict[str, object]] = read_config_file(SAMPLE).namespace["network"]
FAMILY_OF_ENTRY = {name: entry.get("net_family", "recognition") for name, entry in ENTRIES.items()}
RENAMED = {"i1": "i", "n1": "n", "x1": "x", "p68": "dpn68", "p92": "dpn92", "p107": "dpn107", "p131": "dpn131"}
"""What `--network` of src/train_softmax.py was called -> entry here."""


def entry_of(case: NetworkCase) -> str | None:
    """The entry that should give this variant; None where there is none, or the variant has other options."""
    call = case.facts["call"]
    if case.family == "recognition":
        return call["named_network"] if not call["overrides"] else None
    name = str(call.get("network_option"))
    candidates = (RENAMED.get(name, name), f"src_{name}")
    return next((entry for entry in candidates if FAMILY_OF_ENTRY.get(entry) == case.family), None)


NAMED = [(entry, case) for case in CASES if (entry := entry_of(case))]
PARAMETERS = [
    pytest.param(entry, case, id=entry, marks=pytest.mark.slow if entry == "x" else ()) for entry, case in NAMED
]


def test_every_entry_has_a_case(oracle: Path) -> None:
    assert {entry for entry, _ in NAMED} == ENTRIES.keys()


@pytest.mark.parametrize(("entry", "case"), PARAMETERS)
def test_nodes(entry: str, case: NetworkCase) -> None:
    settings, _ = read_config_file(SAMPLE).generate(network=entry, dataset="emore", loss="arcface")
    family, options = read_network(settings)
    symbol = get_symbol(settings["net_name"], family=family, **asdict(options))
    assert nodes_crc32(symbol.to_json_graph()) == case.facts["symbol_crc32_of_nodes"]
