"""What a training process knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mxface.ranks import Ranks
from mxface.train.guard import StopSignals
from mxface.train.process_group import Place


@dataclass(frozen=True, kw_only=True)
class Session:
    """This process in the run; `say` prints on the main rank and is silent on the others.

    `contexts` are MXNet's devices, where MXNet is the engine.
    """

    place: Place
    ranks: Ranks
    device: torch.device
    stop: StopSignals
    say: Callable[..., object]
    contexts: Sequence[Any] = ()


def say_nothing(*_words: object) -> None:
    """What a rank says that is not the main one."""
