"""What a run remembers of itself, and how it goes on from it: inside an epoch, with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from mxface.errors import ConfigError
from mxface.train.checkpoint import SaveRule
from mxface.train.learner import Trainee
from mxface.train.progress import Progress
from mxface.train.state import StateFolder


class RunState:
    """Everything a resumed run needs, saved to and read from `folder`.

    `identity` are the numbers that decide the order of the images; a state of another run is refused.
    """

    def __init__(
        self, folder: StateFolder, learner: Trainee, progress: Progress, rule: SaveRule, identity: Mapping[str, int]
    ) -> None:
        self._folder = folder
        self._learner = learner
        self._progress = progress
        self._rule = rule
        self._identity = dict(identity)
        self._saved_step: int | None = None

    def save(self) -> None:
        """Write the state, once a step."""
        if self._saved_step != self._progress.step:
            self._folder.save(self._tensors(), step=self._progress.step)
            self._saved_step = self._progress.step

    def resume(self) -> Path | None:
        """Go on from the newest state, and say which; None where there is none, and nothing is changed."""
        tensors = self._tensors()
        path = self._folder.load_newest(tensors)
        if path is None:
            return None
        for name, expected in self._identity.items():
            found = int(tensors[f"identity/{name}"])
            if found != expected:
                raise ConfigError(
                    f"{path} was written with {name} {found}, this run has {expected}: they must be equal"
                )
        self._learner.load(tensors)
        for counters in (self._progress, self._rule):
            for name, value in asdict(counters).items():
                if name != "ckpt":  # a setting, not a memory
                    setattr(counters, name, type(value)(tensors[f"{type(counters).__name__}/{name}"].item()))
        self._saved_step = self._progress.step
        return path

    def roll_back(self) -> int:
        """Take everything trained, but not the counters, back to the newest state; the step that it is of."""
        tensors = self._tensors()
        path = self._folder.load_newest(tensors)
        assert path is not None, "a run that may roll back saves a state before its first batch"
        self._learner.load(tensors)
        return int(tensors["Progress/step"])

    def _tensors(self) -> dict[str, Tensor]:
        """One flat table: the learner's own tensors, and copies of the counters."""
        table = self._learner.tensors()
        table |= {f"identity/{name}": torch.tensor(value) for name, value in self._identity.items()}
        for counters in (self._progress, self._rule):
            for name, value in asdict(counters).items():
                dtype = torch.float64 if isinstance(value, float) else torch.int64
                table[f"{type(counters).__name__}/{name}"] = torch.tensor(value, dtype=dtype)
        return table
