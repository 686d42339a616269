"""Training states: everything that a run needs to go on as if it had never stopped, two of them kept.

    <prefix folder>/state/step-00002000/{.metadata,__0_0.distcp}

A state is a flat table of named tensors, written by `torch.distributed.checkpoint` under a temporary name and renamed.
Its `.metadata` is a pickle: it is read by an unpickler that admits the classes of such metadata and nothing else; the
tensors are read by `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from mxface.errors import ConfigError, FormatError
from mxface.formats.atomic import sync_folder

log = logging.getLogger(__name__)

KEPT_STATES = 2
METADATA_FILE = ".metadata"
METADATA_MODULES = {
    "torch.distributed.checkpoint.metadata": frozenset(
        (
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
    "torch.distributed.checkpoint.filesystem": frozenset(("_StorageInfo",)),
    "torch.serialization": frozenset(("_get_layout",)),
    "torch": frozenset(("Size", "float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")),
    "pathlib": frozenset(("PosixPath", "WindowsPath")),
    "pathlib._local": frozenset(("PosixPath", "WindowsPath")),
}


class StateFolder:
    """The training states of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: Mapping[str, Tensor], *, step: int) -> Path:
        """Write a state, then drop all but the newest `KEPT_STATES`. A crash leaves either the old or the new ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f".{final.name}.tmp"
        with _single_process():
            save(dict(state), checkpoint_id=temporary)
        if final.exists():  # of an earlier run in the same folder
            final.rename(self.folder / f".{final.name}.old.tmp")
        temporary.rename(final)
        sync_folder(self.folder)
        for old in self.list_states()[:-KEPT_STATES]:
            shutil.rmtree(old)
        self._remove_leftovers()
        return final

    def list_states(self) -> list[Path]:
        """The complete states, oldest first (by the time they were written: a new run may begin again at step 1)."""
        found = [path for path in self.folder.glob("step-*") if (path / METADATA_FILE).is_file()]
        return sorted(found, key=lambda path: (path / METADATA_FILE).stat().st_mtime_ns)

    def load_newest(self, state: Mapping[str, Tensor]) -> Path | None:
        """Fill the tensors of `state` in place from the newest state; None where there is no state."""
        states = self.list_states()
        if not states:
            return None
        read_state(states[-1], state)
        return states[-1]

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(path)


def read_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Fill the tensors of `state` in place; a name or a shape that the file has otherwise is a `ConfigError`."""
    reader = _CarefulReader(path)
    _require_same_tensors(path, reader.read_metadata().state_dict_metadata, state)
    try:
        with _single_process():
            load(dict(state), storage_reader=reader)
    except CheckpointException as exc:
        cause, _ = next(iter(exc.failures.values()))
        raise _damaged(path, f"damaged tensors ({cause})", "a whole training state") from exc


def _require_same_tensors(path: Path, stored: Mapping[str, object], state: Mapping[str, Tensor]) -> None:
    for name in sorted(set(stored) | set(state)):
        entry, tensor = stored.get(name), state.get(name)
        if entry is None or tensor is None:
            difference = f"not in {'the state' if entry is None else 'this run'}"
        elif not isinstance(entry, TensorStorageMetadata):
            raise _damaged(path / METADATA_FILE, f"{name} of {type(entry).__name__}", "a tensor")
        elif entry.size != tensor.shape:
            difference = f"{tuple(entry.size)}, this run has {tuple(tensor.shape)}"
        else:
            continue
        raise ConfigError(f"{path}: {name} is {difference}; resume with the flags and the config that wrote it")


def _damaged(path: Path, found: str, expected: str) -> FormatError:
    return FormatError(path, found, expected, way_out="delete this state to resume from the one before it")


class _CarefulReader(FileSystemReader):
    """Torch's reader, but for the pickle."""

    def read_metadata(self, *_args: Any, **_kwargs: Any) -> Metadata:
        path = Path(self.path) / METADATA_FILE
        with path.open("rb") as file:
            metadata = _MetadataUnpickler(file, path).load_metadata()
        for info in metadata.storage_data.values():
            if Path(info.relative_path).name != info.relative_path:
                raise _damaged(path, f"a file at {info.relative_path}", "files inside the state's folder")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _MetadataUnpickler(pickle.Unpickler):
    """Admits the classes of torch's metadata only."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self._path = path

    def load_metadata(self) -> Metadata:
        """The metadata; whatever else the bytes hold is a `FormatError`."""
        try:
            metadata = self.load()
        except FormatError:
            raise
        except Exception as exc:  # a damaged pickle raises nearly anything
            raise _damaged(self._path, f"a damaged pickle ({exc})", "the metadata of a training state") from exc
        if not isinstance(metadata, Metadata):
            raise _damaged(self._path, f"a {type(metadata).__name__}", "the metadata of a training state")
        return metadata

    def find_class(self, module: str, name: str) -> Any:
        if name not in METADATA_MODULES.get(module, ()):
            raise _damaged(self._path, f"a pickle that names {module}.{name}", "the metadata of a training state")
        return getattr(importlib.import_module(module), name)


@contextlib.contextmanager
def _single_process() -> Iterator[None]:
    """Without torch's warning that one process was meant: it was."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is .*, assuming the intent is to")
        yield
