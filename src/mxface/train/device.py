"""Which devices a training run uses: how many ranks, and which device each of them has."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from mxface.cpus import MOST_WORKERS
from mxface.errors import ConfigError
from mxface.train.config import require
from mxface.train.process_group import Place, find_place

WAY_OUT = "set CUDA_VISIBLE_DEVICES='' (or --device cpu) to train on the CPU"
ONE_RANK = Place()


def count_ranks(requested: int | None, device: str | None, *, engine: str = "torch") -> int:
    """The processes that train together: `--ranks`, else one a visible GPU; on the CPU, or on a GPU that `--device`
    names, one. Under torchrun as many as it started.

    Raises ConfigError for a number that cannot be.
    """
    place = find_place()
    if place is not None and requested not in (None, place.count):
        raise ConfigError(f"--ranks {requested}, but WORLD_SIZE is {place.count}: leave --ranks out under torchrun")
    allowed = f"a number of processes from 1 to {MOST_WORKERS}"
    require(requested is None or 0 < requested <= MOST_WORKERS, "--ranks", requested, allowed)
    chosen = _parse(device) if device is not None else _visible_device()
    gpus = torch.cuda.device_count() if chosen.type == "cuda" else 0
    names_one = chosen.type == "cuda" and chosen.index is not None
    if place is not None:
        count = place.count
    elif requested is not None:
        count = requested
    else:
        count = 1 if names_one or engine != "torch" else max(1, gpus)
    if count > 1 and engine != "torch":
        raise ConfigError(f"--engine {engine} trains in one process; --ranks {count} is --engine torch's")
    if count > 1 and names_one:
        raise ConfigError(f"--device {device} with --ranks {count}: each rank has its own; leave --device out")
    here = count if place is None else place.local_count
    if 0 < gpus < here:
        raise ConfigError(f"{here} ranks on this machine, but torch sees {gpus} GPUs: one each; {WAY_OUT}")
    return count


def choose_device(requested: str | None, place: Place = ONE_RANK, *, say: Callable[[str], object]) -> torch.device:
    """The `--device` asked for, else this rank's GPU among those of CUDA_VISIBLE_DEVICES (unset: all), else the CPU.

    Says it in 2019's words. Raises ConfigError where the choice does not exist.
    """
    device = _parse(requested) if requested is not None else _visible_device()
    if device.type == "cpu":
        say("use cpu")
        return device
    index: int | None = device.index  # torch's stub leaves the None out
    if index is not None:
        return device
    say(f"gpu num: {place.count}")
    return torch.device("cuda", place.local_rank)


def _visible_device() -> torch.device:
    """`cuda` without a number, or the CPU where there is no GPU and none was asked for."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "":
        return torch.device("cpu")
    if torch.cuda.device_count():
        return torch.device("cuda")
    if visible is not None:
        raise ConfigError(f"CUDA_VISIBLE_DEVICES is {visible!r}, but torch sees no GPU; {WAY_OUT}")
    return torch.device("cpu")


def _parse(requested: str) -> torch.device:
    try:
        device = torch.device(requested)
    except RuntimeError as exc:
        raise ConfigError(f"--device {requested}: expected cpu, cuda or cuda:N") from exc
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {requested}: expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {requested}: torch sees {torch.cuda.device_count()} GPUs; {WAY_OUT}")
    return device
