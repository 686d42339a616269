"""Which device a command computes on."""

from __future__ import annotations

import torch

from mxface.errors import ConfigError


def choose_device(gpu: int | None, *, engine: str = "torch") -> str:
    """The device of 2019's `--gpu`: an index, -1 for the CPU, None for the first GPU or else the CPU.

    Raises ConfigError for an index that no visible GPU has. Another engine has its own view of GPUs and its own error;
    None is its CPU, as the packages on PyPI know no other.
    """
    if engine != "torch" and (gpu is None or gpu >= 0):
        return "cpu" if gpu is None else f"cuda:{gpu}"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpu is None:
        gpu = 0 if count else -1
    if not -1 <= gpu < count:
        visible = f"0 to {count - 1} are visible; or" if count else "none is visible;"
        raise ConfigError(f"there is no GPU {gpu}: {visible} give -1 for the CPU")
    return "cpu" if gpu == -1 else f"cuda:{gpu}"
