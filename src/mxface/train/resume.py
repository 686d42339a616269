"""What a run remembers of itself, and how it goes on from it: inside an epoch, with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from mxface.errors import ConfigError
from mxface.train.checkpoint import SaveRule
from mxface.train.learner import Trainee
from mxface.train.progress import Progress
from mxface.train.state import NOTHING, StateFolder

NO_TENSORS: Mapping[str, Tensor] = MappingProxyType({})


class Resumed(NamedTuple):
    """The state that a run goes on from, and what is to be said of it."""

    path: Path
    account: str


class RunState:
    """Everything a resumed run needs, saved to and read from `folder`.

    `identity` are the numbers that decide the order of the images; a state of another run is refused. `setting` are
    numbers that may differ, which is said. `place` are tensors that belong to the place in the data, as the counters
    do, and are filled in place. `sharded` is `StateFolder.save`'s.
    """

    def __init__(
        self,
        folder: StateFolder,
        learner: Trainee,
        progress: Progress,
        rule: SaveRule,
        identity: Mapping[str, int],
        *,
        setting: Mapping[str, int] = NOTHING,
        place: Mapping[str, Tensor] = NO_TENSORS,
        sharded: Mapping[str, int] = NOTHING,
    ) -> None:
        self._folder = folder
        self._learner = learner
        self._progress = progress
        self._rule = rule
        self._identity = dict(identity)
        self._setting = dict(setting)
        self._place = dict(place)
        self._sharded = dict(sharded)
        self._saved_step: int | None = None

    def save(self) -> None:
        """Write the state, once a step."""
        if self._saved_step != self._progress.step:
            self._learner.average_statistics()
            self._folder.save(self._tensors(), step=self._progress.step, sharded=self._sharded)
            self._saved_step = self._progress.step

    def resume(self) -> Resumed | None:
        """Go on from the newest whole state, and say which; None where there is none, and nothing is changed."""
        tensors = self._tensors()
        path = self._folder.load_newest(tensors, sharded=self._sharded)
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
        return Resumed(path, self._account(path, tensors))

    def roll_back(self) -> int:
        """Take everything trained, but not the place in the data, back to the newest state; the step that it is of."""
        tensors = self._tensors() | {name: tensor.clone() for name, tensor in self._place.items()}
        path = self._folder.load_newest(tensors, sharded=self._sharded)
        assert path is not None, "a run that may roll back saves a state before its first batch"
        self._learner.load(tensors)
        return int(tensors["Progress/step"])

    def _account(self, path: Path, tensors: Mapping[str, Tensor]) -> str:
        progress = self._progress
        place = f"image {progress.images} of epoch {progress.epoch}, batch {progress.step + 1}"
        account = f"resumed from {path}: goes on at {place}"
        for name, now in self._setting.items():
            before = int(tensors[f"setting/{name}"])
            if now != before:
                account += f"; {name.replace('_', ' ')} {now}, was {before}"
        return account

    def _tensors(self) -> dict[str, Tensor]:
        """One flat table: the learner's own tensors, those of the place in the data, and copies of the counters."""
        table = self._learner.tensors() | self._place
        for part, values in (("identity", self._identity), ("setting", self._setting)):
            table |= {f"{part}/{name}": torch.tensor(value) for name, value in values.items()}
        for counters in (self._progress, self._rule):
            for name, value in asdict(counters).items():
                dtype = torch.float64 if isinstance(value, float) else torch.int64
                table[f"{type(counters).__name__}/{name}"] = torch.tensor(value, dtype=dtype)
        return table
