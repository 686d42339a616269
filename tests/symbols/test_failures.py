"""What the original could not build (`oracle/networks/FAILURES.json`) is refused here in words, or built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support import ORACLE

from mxface.errors import ConfigError
from mxface.graph import Symbol
from mxface.symbols import FAMILIES, get_symbol

Call = tuple[str, str]
"""`source` and `call` as the file has them."""

RECOGNITION, SRC = "recognition/symbol", "src/symbols"
NETWORK_OF_SOURCE = {
    f"{RECOGNITION}/*.py": ("recognition", "fresnet"),
    "alignment/symbol/sym_heatmap.py": ("alignment", "heatmap"),
    "RetinaFace": ("retinaface", "resnet"),
}
FAMILY_OF_FOLDER = {RECOGNITION: "recognition", SRC: "src"}

TOO_SMALL_FOR_GDC = r"cannot take images of 112x112: Convolution 'conv_6dw7_7_.*window of 7 does not fit"
NOT_THE_CHANNELS_OF_GDC = "Convolution 'conv_6dw7_7_conv2d': num_group 512 does not divide"
NOT_THE_CHANNELS_OF_GNAP = "elemwise_mul '_mul1': shape .* does not agree with"


def r18_backbone() -> Symbol:
    network = get_symbol("fresnet", family="gender_age", num_layers=18, net_input=0)
    return network.get_internals()["relu1_output"]


REFUSALS: dict[Call, list[tuple[dict[str, Any], str]]] = {
    (f"{RECOGNITION}/fresnet.py", "any depth, net_unit=4"): [
        ({"num_layers": 50, "net_unit": 4}, "net_unit=4 was never written in 2019"),
    ],
    (f"{RECOGNITION}/fresnet.py", "num_layers=500 (or any unlisted depth)"): [
        ({"num_layers": 500}, "fresnet has no num_layers=500; choose"),
    ],
    (f"{RECOGNITION}/fresnet.py", "num_layers=18, net_input=0, net_output=GDC"): [
        ({"num_layers": 18, "net_input": 0, "net_output": "GDC"}, TOO_SMALL_FOR_GDC),
    ],
    (f"{RECOGNITION}/*.py", 'net_output="A" or any unknown letter'): [
        ({"num_layers": 18, "net_output": "A"}, "net_output='A' does not exist; choose one of E, F, FC, G"),
    ],
    (f"{RECOGNITION}/fmobilenet.py", "m1 with net_input=0 (GDC)"): [
        ({"net_input": 0, "net_output": "GDC"}, TOO_SMALL_FOR_GDC),
    ],
    (f"{RECOGNITION}/fmobilenet.py", "net_multiplier 0.25 or 0.75 with GDC"): [
        ({"net_multiplier": multiplier, "net_output": "GDC"}, NOT_THE_CHANNELS_OF_GDC) for multiplier in (0.25, 0.75)
    ],
    (f"{RECOGNITION}/fmobilenet.py", "m1 with net_output=GNAP, emb_size<=512"): [
        ({"net_output": "GNAP", "emb_size": emb_size}, NOT_THE_CHANNELS_OF_GNAP) for emb_size in (256, 512)
    ],
    (f"{RECOGNITION}/fmnasnet.py", "mnas with net_output=GNAP, emb_size<=512"): [
        ({"net_output": "GNAP", "emb_size": emb_size}, NOT_THE_CHANNELS_OF_GNAP) for emb_size in (256, 512)
    ],
    (f"{RECOGNITION}/fdensenet.py", "num_layers=169 with GDC"): [
        ({"num_layers": 169, "net_output": "GDC"}, NOT_THE_CHANNELS_OF_GDC),
    ],
    (f"{SRC}/fresnet.py", "num_layers=101 with version_output=GNAP"): [
        ({"num_layers": 101, "version_output": "GNAP"}, NOT_THE_CHANNELS_OF_GNAP),
    ],
    (f"{SRC}/fmobilenet.py", "version_output=GNAP"): [({"version_output": "GNAP"}, NOT_THE_CHANNELS_OF_GNAP)],
    (f"{SRC}/spherenet.py", "num_layers not in 20,36,60,64,104"): [
        ({"num_layers": depth}, f"spherenet has no num_layers={depth}; choose one of 20, 36, 60, 64, 104")
        for depth in (50, None)
    ],
    ("alignment/symbol/sym_heatmap.py", "net_binarize=True (hourglass, sdu)"): [
        ({"net_binarize": True, "net_sta": sta}, "net_binarize=True needs operators of a private MXNet")
        for sta in (0, 1)
    ],
    ("RetinaFace", "max_feat_channel smaller than the width at stride 32 (r18 backbone, 256)"): [
        (
            {"backbone": r18_backbone(), "max_feat_channel": 256},
            "no map of at most max_feat_channel=256 channels with stride 32",
        ),
    ],
}
"""What was given, and what we say."""

MENDED: dict[Call, dict[str, Any]] = {
    (f"{RECOGNITION}/fdensenet.py", "config without densenet_dropout"): {"num_layers": 121},
}
"""Calls whose meaning is plain: they are built."""

FAILURES = ORACLE / "networks" / "FAILURES.json"
CALLS = [(entry["source"], entry["call"]) for entry in json.loads(FAILURES.read_text())] if FAILURES.is_file() else []
REFUSED = [(call, options, message) for call, refusals in REFUSALS.items() for options, message in refusals]


def network_of(source: str) -> tuple[str, str]:
    """(family, name) of get_symbol."""
    if source in NETWORK_OF_SOURCE:
        return NETWORK_OF_SOURCE[source]
    folder, _, file = source.rpartition("/")
    return FAMILY_OF_FOLDER[folder], file.removesuffix(".py")


def is_built(source: str) -> bool:
    family, name = network_of(source)
    return family in FAMILIES and name in FAMILIES[family].networks


def test_every_failure_of_a_network_that_is_built_is_here(oracle: Path) -> None:
    assert {call for call in CALLS if is_built(call[0])} == REFUSALS.keys() | MENDED.keys()


@pytest.mark.parametrize(
    ("call", "options", "message"), REFUSED, ids=[f"{call[0]}: {call[1]}" for call, _, _ in REFUSED]
)
def test_refused_in_words(call: Call, options: dict[str, Any], message: str) -> None:
    family, name = network_of(call[0])
    with pytest.raises(ConfigError, match=message):
        get_symbol(name, family=family, **options)


@pytest.mark.parametrize("call", [call for call in MENDED if is_built(call[0])], ids=str)
def test_mended(call: Call) -> None:
    family, name = network_of(call[0])
    assert get_symbol(name, family=family, **MENDED[call]).list_outputs() == ["fc1_output"]
