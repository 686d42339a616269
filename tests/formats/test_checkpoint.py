from __future__ import annotations

from pathlib import Path

import pytest

from mxface.errors import ConfigError
from mxface.formats.checkpoint import list_epochs, one_epoch, params_path, split_model, symbol_path


def test_names() -> None:
    assert symbol_path("models/mnet.25") == Path("models/mnet.25-symbol.json")
    assert params_path(Path("models/a-b"), 7) == Path("models/a-b-0007.params")
    assert params_path("m", 12345) == Path("m-12345.params")


def test_epochs_of_a_prefix_with_dashes_and_dots(tmp_path: Path) -> None:
    for name in ("a-b.25-0003.params", "a-b.25-0000.params", "a-b.25-12345.params", "a-bx25-0004.params"):
        (tmp_path / name).touch()
    for name in (
        "a-b.25-symbol.json",
        "a-b.25-3.params",
        "a-b.25-0005.params.tmp",
        "a-b.25s-0006.params",
        "-0001.params",
    ):
        (tmp_path / name).touch()
    assert list_epochs(tmp_path / "a-b.25") == [0, 3, 12345]
    assert list_epochs(tmp_path / "other") == []
    assert list_epochs(tmp_path / "no folder" / "model") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../models/y1/model,0", ("../models/y1/model", [0])),
        ("m,1|2|30", ("m", [1, 2, 30])),
        ("m , 0012", ("m", [12])),
        ("models/mnet.25", ("models/mnet.25", [])),
    ],
)
def test_split_model(text: str, expected: tuple[str, list[int]]) -> None:
    assert split_model(text) == expected


@pytest.mark.parametrize("text", ["", ",0", "m,", "m,x", "m,1|", "m,-1", "m,1,2", "m,1.5", "m,\u0661"])
def test_models_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match="PREFIX,EPOCH"):
        split_model(text)


def test_one_epoch_names_the_flag() -> None:
    assert one_epoch("--model", "m,3") == ("m", 3)
    for text in ("m", "m,1|2"):
        with pytest.raises(ConfigError, match=r"--ga-model 'm.*name one epoch"):
            one_epoch("--ga-model", text)
    with pytest.raises(ConfigError, match=r"--ga-model 'm,x': expected PREFIX,EPOCH"):
        one_epoch("--ga-model", "m,x")
