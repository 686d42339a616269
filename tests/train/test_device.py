"""How many ranks there are, which device each takes, and what is said about it."""

from __future__ import annotations

import pytest
import torch

from mxface.errors import ConfigError
from mxface.train.device import choose_device, count_ranks
from mxface.train.process_group import Place

PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PLACE:
        monkeypatch.delenv(name, raising=False)


def see(monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: int) -> None:
    """A machine where torch sees so many GPUs."""
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("visible", "gpus", "requested", "place", "device", "lines"),
    [
        ("", 2, None, Place(), "cpu", ["use cpu"]),
        (None, 0, None, Place(), "cpu", ["use cpu"]),
        (None, 1, None, Place(), "cuda:0", ["gpu num: 1"]),
        ("0", 1, None, Place(), "cuda:0", ["gpu num: 1"]),
        ("0,1", 2, None, Place(rank=1, count=2, local_rank=1, local_count=2), "cuda:1", ["gpu num: 2"]),
        ("0,1", 2, None, Place(rank=3, count=4, local_rank=1, local_count=2), "cuda:1", ["gpu num: 4"]),
        ("0,1", 2, "cuda", Place(rank=1, count=2, local_rank=1, local_count=2), "cuda:1", ["gpu num: 2"]),
        ("0,1", 2, "cuda:1", Place(), "cuda:1", []),
        ("0,1", 2, "cpu", Place(), "cpu", ["use cpu"]),
    ],
)
def test_device(
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    gpus: int,
    requested: str | None,
    place: Place,
    device: str,
    lines: list[str],
) -> None:
    see(monkeypatch, visible, gpus)
    said: list[str] = []
    assert choose_device(requested, place, say=said.append) == torch.device(device)
    assert said == lines


@pytest.mark.parametrize(
    ("visible", "gpus", "requested", "device", "count"),
    [
        ("", 2, None, None, 1),
        (None, 0, None, None, 1),
        (None, 0, 3, None, 3),
        (None, 4, None, None, 4),  # 2019's data parallelism: every visible GPU
        ("0,1", 2, None, None, 2),
        ("0,1", 2, 1, None, 1),
        ("0,1", 2, None, "cuda", 2),
        ("0,1", 2, None, "cuda:1", 1),
        ("0,1", 2, None, "cpu", 1),
        ("0,1", 2, 3, "cpu", 3),
    ],
)
def test_count_of_ranks(
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    gpus: int,
    requested: int | None,
    device: str | None,
    count: int,
) -> None:
    see(monkeypatch, visible, gpus)
    assert count_ranks(requested, device) == count


def test_torchrun_decides_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, None, 2)
    for name, value in zip(PLACE, ("5", "6", "1", "2", "host", "1234"), strict=True):
        monkeypatch.setenv(name, value)
    assert count_ranks(None, None) == count_ranks(6, None) == 6
    with pytest.raises(ConfigError, match="--ranks 2, but WORLD_SIZE is 6: leave --ranks out under torchrun"):
        count_ranks(2, None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="3 ranks on this machine, but torch sees 2 GPUs"):
        count_ranks(None, None)
    monkeypatch.setenv("RANK", "6")
    with pytest.raises(ConfigError, match=r"RANK 6 of WORLD_SIZE 6, .*: no such place"):
        count_ranks(None, None)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ConfigError, match=r"RANK, WORLD_SIZE, … in the environment: invalid literal.*'first'"):
        count_ranks(None, None)


@pytest.mark.parametrize(
    ("visible", "gpus", "ranks", "device", "message"),
    [
        ("0,1", 0, None, None, "CUDA_VISIBLE_DEVICES is '0,1', but torch sees no GPU; set CUDA_VISIBLE_DEVICES=''"),
        (None, 1, None, "cuda:1", "--device cuda:1: torch sees 1 GPUs"),
        (None, 0, None, "cuda", "--device cuda: torch sees 0 GPUs"),
        (None, 0, None, "meta", "--device meta: expected cpu, cuda or cuda:N"),
        (None, 0, None, "gpu7", "--device gpu7: expected cpu, cuda or cuda:N"),
        (None, 2, 2, "cuda:1", "--device cuda:1 with --ranks 2: each rank has its own; leave --device out"),
        (None, 2, 0, None, "--ranks is 0: expected a number of processes from 1 to 1024"),
        (None, 2, 3, None, "3 ranks on this machine, but torch sees 2 GPUs: one each"),
    ],
)
def test_what_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: int, ranks: int | None, device: str | None, message: str
) -> None:
    see(monkeypatch, visible, gpus)
    with pytest.raises(ConfigError, match=message):
        count_ranks(ranks, device)
