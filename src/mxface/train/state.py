"""Training states: everything that a run needs to go on as if it had never stopped, two of them kept.

    <prefix folder>/state/step-00002000/saved.json      {"number": 7, "step": 2000, "ranks": 2}; numbers ascend
                                        .metadata …     the tensors (`train.state_files`)

A state is a flat table of named tensors. All ranks write it together under a temporary name; when all is on the disk
the first rank renames it. So a kill at any moment leaves whole states only, and the newest is at most one save old.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata

from mxface.errors import ConfigError, FormatError, SaveError
from mxface.formats.atomic import atomic_write, sync_folder
from mxface.ranks import Ranks
from mxface.train.state_files import read_tensors, write_tensors
from mxface.train.state_metadata import METADATA_FILE, read_metadata, stored_tensors

log = logging.getLogger(__name__)

KEPT_STATES = 2
SAVED_FILE = "saved.json"
NOTHING: Mapping[str, int] = MappingProxyType({})


class StateFolder:
    """The training states of one run, whose ranks all call the same methods."""

    def __init__(self, folder: Path, ranks: Ranks = Ranks.single()) -> None:  # noqa: B008 (frozen)
        self.folder = folder
        self._ranks = ranks

    def save(self, state: Mapping[str, Tensor], *, step: int, sharded: Mapping[str, int] = NOTHING) -> Path:
        """Write a state, then drop all but the newest `KEPT_STATES`. A crash leaves either the old or the new ones.

        `sharded` are the tensors of which each rank has its `class_range` of rows, with the rows of all together.
        Raises SaveError on all ranks, after removing what was written, when one cannot write.
        """
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f".{final.name}.tmp"
        try:
            self._ranks.on_main(lambda: self._make(temporary))
            write_tensors(temporary, state, sharded=sharded, ranks=self._ranks)
            self._ranks.on_main(lambda: self._publish(temporary, final, step))
        except OSError as exc:
            if self._ranks.is_main:
                shutil.rmtree(temporary, ignore_errors=True)
            raise SaveError.of(final, exc, way_out=self._way_out()) from exc
        return final

    def list_states(self) -> list[Path]:
        """The complete states, oldest first: in the order of their saving, for a new run may begin again at step 1.

        A state that a run drops meanwhile may be among them, or not.
        """
        orders = {path: order for path in self.folder.glob("step-*") if (order := _order(path)) is not None}
        return sorted(orders, key=orders.__getitem__)

    def load_newest(self, state: Mapping[str, Tensor], *, sharded: Mapping[str, int] = NOTHING) -> Path | None:
        """Fill the tensors of `state` in place from the newest whole state; None where there is no state.

        A damaged one is set aside with a warning, and the one before it is used. Raises FormatError where none is
        whole, ConfigError where the state is of another network.
        """
        damaged: list[tuple[Path, FormatError]] = []
        for path in reversed(self._ranks.on_main(self.list_states)):
            try:
                read_state(path, state, sharded=sharded, ranks=self._ranks)
            except FormatError as exc:
                damaged.append((path, exc))
            else:
                for other, error in damaged:
                    words = "%s: found %s, expected %s; this state is renamed to damaged-%s, and %s is used"
                    log.warning(words, error.path, error.found, error.expected, other.name, path.name)
                self._ranks.on_main(lambda: _set_aside([other for other, _ in damaged]))
                return path
        if damaged:
            raise damaged[0][1]
        return None

    def _make(self, temporary: Path) -> None:
        self.folder.mkdir(exist_ok=True)  # no parents: a run's folder that has gone is not made anew
        self._remove_leftovers()
        temporary.mkdir()

    def _publish(self, temporary: Path, final: Path, step: int) -> None:
        """Give a state that is on the disk its name, and drop the oldest."""
        states = self.list_states()
        number = 1 + (_number(states[-1]) if states else 0)
        with atomic_write(temporary / SAVED_FILE, "w") as file:
            json.dump({"number": number, "step": step, "ranks": self._ranks.count}, file)
        sync_folder(temporary)
        if final.exists():  # of an earlier run in the same folder
            self._hide(final)
        temporary.rename(final)
        sync_folder(self.folder)
        for old in self.list_states()[:-KEPT_STATES]:
            self._hide(old)
        self._remove_leftovers()

    def _hide(self, state: Path) -> None:
        """Make a leftover of a state: removing it takes a while, and a kill meanwhile must not leave half of it."""
        state.rename(self.folder / f".{state.name}.old.tmp")

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(path)

    def _way_out(self) -> str:
        if not self.folder.parent.is_dir():
            return f"{self.folder.parent} is gone: put it back, and --resume goes on from its last state, if it has one"
        states = self.list_states()
        last = f"--resume then goes on from {states[-1].name}" if states else "no state was saved yet"
        return f"free some space or make the folder writable; {last}"


def read_state(
    path: Path,
    state: Mapping[str, Tensor],
    *,
    sharded: Mapping[str, int] = NOTHING,
    ranks: Ranks = Ranks.single(),  # noqa: B008
) -> None:
    """Fill the tensors of `state` in place, all ranks together.

    Raises FormatError for damage, and ConfigError for a name, a shape or a type that the state has otherwise.
    """
    metadata = ranks.on_main(lambda: read_metadata(path))
    _require_same_tensors(path, metadata, state, sharded)
    read_tensors(path, metadata, state, sharded=sharded, ranks=ranks)


def _require_same_tensors(
    path: Path, metadata: Metadata, state: Mapping[str, Tensor], sharded: Mapping[str, int]
) -> None:
    stored = stored_tensors(metadata)
    for name in sorted(set(stored) | set(state)):
        entry, tensor = stored.get(name), state.get(name)
        if entry is None or tensor is None:
            difference = f"not in {'the state' if entry is None else 'this run'}"
        else:
            here = (*((sharded[name],) if name in sharded else tensor.shape[:1]), *tensor.shape[1:])
            if tuple(entry.size) != here:
                difference = f"{tuple(entry.size)}, this run has {here}"
            elif entry.properties.dtype != tensor.dtype:
                difference = f"{entry.properties.dtype}, this run has {tensor.dtype}"
            else:
                continue
        raise ConfigError(f"{path}: {name} is {difference}; resume with the flags and the config that wrote it")


def _order(path: Path) -> tuple[int, int] | None:
    """What states are sorted by: their number, then the time of writing. None where no complete state is there."""
    number = _number(path)
    try:
        return number, (path / METADATA_FILE).stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def _number(state: Path) -> int:
    """How many states the folder had seen with this one; 0 of those of earlier versions, which do not know."""
    try:
        return int(json.loads((state / SAVED_FILE).read_text())["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _set_aside(states: Iterable[Path]) -> None:
    for state in states:
        target = state.with_name(f"damaged-{state.name}")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target)
        state.rename(target)
