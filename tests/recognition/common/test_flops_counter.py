"""recognition/common/flops_counter.py in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.tiny_model import save_tiny_model, tiny_symbol

from mxface.graph import Symbol, save_checkpoint
from mxface.recognition.common.flops_counter import main
from mxface.symbols import get_symbol, heads

TINY = 27 * 27 * 6 * (2 * 75 - 1) + 3 * 3 * 6 * 2 * 16
"""conv0 has no bias, fc1 has one."""


def saved(prefix: Path, symbol: Symbol) -> str:
    save_checkpoint(prefix, 1, symbol, {}, {})
    return f"{prefix},1"


def test_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", f"{save_tiny_model(tmp_path / 'model')},1"]) == 0
    assert TINY == 653454
    assert capsys.readouterr().out == "FLOPs: 653.5K\n"


def test_the_figure_of_2019s_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    symbol = get_symbol("fmobilefacenet", emb_size=128, net_output="GDC")
    assert main(["--model", saved(tmp_path / "y1", symbol)]) == 0
    assert capsys.readouterr().out == "FLOPs: 439.8M\n"


def test_a_network_saved_with_its_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """fc7 counts where it was saved."""
    whole = heads.softmax_loss(tiny_symbol(), num_classes=10000, emb_size=16, batch_size=1)
    assert main(["--model", saved(tmp_path / "whole", whole)]) == 0
    assert capsys.readouterr().out == f"FLOPs: {(TINY + 2 * 16 * 10000) / 1e3:.1f}K\n"


@pytest.mark.parametrize(
    ("model", "message"),
    [("absent,1", "absent-0001.params"), ("absent", "name one epoch"), ("absent,1|2", "name one epoch")],
)
def test_no_such_model(model: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / model)]) == 1
    assert message in capsys.readouterr().err
