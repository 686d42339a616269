"""Which device is taken, and what is said about it."""

from __future__ import annotations

import pytest
import torch

from mxface.errors import ConfigError
from mxface.train.device import choose_device, usable_cpus


def choose(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: int, requested: str | None = None
) -> tuple[torch.device, list[str]]:
    """The choice and the lines, where torch sees so many GPUs."""
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    lines: list[str] = []
    return choose_device(requested, say=lines.append), lines


@pytest.mark.parametrize(
    ("visible", "gpus", "requested", "device", "lines"),
    [
        ("", 2, None, "cpu", ["use cpu"]),
        (None, 0, None, "cpu", ["use cpu"]),
        (None, 1, None, "cuda:0", ["gpu num: 1"]),
        ("0", 1, None, "cuda:0", ["gpu num: 1"]),
        (
            "0,1",
            2,
            None,
            "cuda:0",
            ["gpu num: 2", "one process trains on one GPU: the first of 2 (--device cuda:N for another)"],
        ),
        ("0,1", 2, "cuda:1", "cuda:1", []),
        ("0,1", 2, "cpu", "cpu", ["use cpu"]),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    gpus: int,
    requested: str | None,
    device: str,
    lines: list[str],
) -> None:
    assert choose(monkeypatch, visible, gpus, requested) == (torch.device(device), lines)


@pytest.mark.parametrize(
    ("visible", "gpus", "requested", "message"),
    [
        ("0,1", 0, None, "CUDA_VISIBLE_DEVICES is '0,1', but torch sees no GPU; set CUDA_VISIBLE_DEVICES=''"),
        (None, 1, "cuda:1", "--device cuda:1: torch sees 1 GPUs"),
        (None, 0, "cuda", "--device cuda: torch sees 0 GPUs"),
        (None, 0, "meta", "--device meta: expected cpu, cuda or cuda:N"),
        (None, 0, "gpu7", "--device gpu7: expected cpu, cuda or cuda:N"),
    ],
)
def test_what_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: int, requested: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(monkeypatch, visible, gpus, requested)


def test_there_is_a_cpu() -> None:
    assert usable_cpus() >= 1
