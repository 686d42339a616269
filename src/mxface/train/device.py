"""Which device a training process uses."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from mxface.errors import ConfigError

WAY_OUT = "set CUDA_VISIBLE_DEVICES='' (or --device cpu) to train on the CPU"


def choose_device(requested: str | None, *, say: Callable[[str], object]) -> torch.device:
    """The `--device` asked for, else the first GPU of CUDA_VISIBLE_DEVICES (unset: of all), else the CPU.

    Says it in 2019's words. Raises ConfigError where the choice does not exist.
    """
    if requested is not None:
        device = _parse(requested)
    elif os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        device = torch.device("cpu")
    else:
        device = _first_gpu_or_cpu(say)
    if device.type == "cpu":
        say("use cpu")
    return device


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


def _first_gpu_or_cpu(say: Callable[[str], object]) -> torch.device:
    visible, count = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()
    if count == 0:
        if visible is not None:
            raise ConfigError(f"CUDA_VISIBLE_DEVICES is {visible!r}, but torch sees no GPU; {WAY_OUT}")
        return torch.device("cpu")
    say(f"gpu num: {count}")
    if count > 1:
        say(f"one process trains on one GPU: the first of {count} (--device cuda:N for another)")
    return torch.device("cuda", 0)


def usable_cpus() -> int:
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
