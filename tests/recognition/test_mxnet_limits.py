"""What --engine mxnet refuses, in a sentence and before anything is built; no MXNet is needed to be told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.support.training import write_tiny_config, write_tiny_set

from mxface.recognition.train import main


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits")
    return write_tiny_config(folder / "config.py", write_tiny_set(folder / "tiny"))


def said(config: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one sentence on stderr."""
    root = config.parent / "models"
    choice = ["--network", "tiny", "--dataset", "tiny", "--config", str(config), "--models-root", str(root)]
    assert main([*choice, "--engine", "mxnet", *flags]) == 1
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    assert not root.exists()
    return output.err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--dtype", "bf16"], "--dtype bf16 is not for --engine mxnet: it trains in float32"),
        (["--head-dtype", "bf16"], "--head-dtype bf16 is not"),
        (["--compile"], "--compile is not"),
        (["--margin-warmup", "5"], "--margin-warmup 5 is not for --engine mxnet: the margin is a constant"),
        (["--clip-grad", "2.5"], "--clip-grad 2.5 is not for --engine mxnet: its optimiser limits each element"),
        (["--ranks", "2"], "--engine mxnet trains in one process"),
        (
            ["--loss", "magface"],
            "that have a graph: softmax, margin_softmax, threshold_margin, sub_centre, triplet, atriplet; choose",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_setting_that_only_torch_knows(
    config: Path, capsys: pytest.CaptureFixture[str], flags: list[str], reason: str
) -> None:
    assert reason in said(config, capsys, *flags)


def test_without_mxnet_the_way_to_it_is_said(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mxnet", None)
    sentence = said(config, capsys)
    assert "pip install 'mxface[mxnet]' on Python 3.10 or 3.11" in sentence
