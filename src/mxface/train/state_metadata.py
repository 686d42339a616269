"""What a training state says of itself: `.metadata`, a pickle of `torch.distributed.checkpoint`.

It holds every tensor's shape, type and parts, and the file, byte and length of each part. Nothing is trusted: the
pickle is read by an unpickler that admits the classes of such metadata only, and its files must lie in the state's own
folder.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import IO, Any, cast

from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from mxface.errors import FormatError

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
WAY_OUT = "--resume needs a whole one; without it the run starts anew, with --pretrained from a model"


def read_metadata(folder: Path) -> Metadata:
    """What the state in `folder` holds, by name; FormatError where that cannot be read or is no state's."""
    path = folder / METADATA_FILE
    try:
        with path.open("rb") as file:
            metadata = _MetadataUnpickler(file, path).load_metadata()
    except OSError as exc:
        raise damaged(path, f"a file that cannot be read ({exc.strerror})", "the metadata of a training state") from exc
    try:
        _require_sound(metadata, path)
    except (AttributeError, TypeError) as exc:
        raise damaged(path, f"fields of other types ({exc})", "the metadata of a training state") from exc
    return metadata


def stored_tensors(metadata: Metadata) -> dict[str, TensorStorageMetadata]:
    """Shape, type and parts of every tensor of a state, by name."""
    return cast("dict[str, TensorStorageMetadata]", metadata.state_dict_metadata)


def _require_sound(metadata: Metadata, path: Path) -> None:
    for name, entry in metadata.state_dict_metadata.items():
        if not isinstance(entry, TensorStorageMetadata):
            raise damaged(path, f"{name} of {type(entry).__name__}", "a tensor")
    for info in metadata.storage_data.values():
        if Path(info.relative_path).name != info.relative_path:
            raise damaged(path, f"a file at {info.relative_path}", "files inside the state's folder")


def damaged(path: Path, found: str, expected: str, *, offset: int | None = None) -> FormatError:
    """The error of a state that cannot be used."""
    return FormatError(path, found, expected, offset=offset, way_out=WAY_OUT)


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
            raise damaged(self._path, f"a damaged pickle ({exc})", "the metadata of a training state") from exc
        if not isinstance(metadata, Metadata):
            raise damaged(self._path, f"a {type(metadata).__name__}", "the metadata of a training state")
        return metadata

    def find_class(self, module: str, name: str) -> Any:
        if name not in METADATA_MODULES.get(module, ()):
            raise damaged(self._path, f"a pickle that names {module}.{name}", "the metadata of a training state")
        return getattr(importlib.import_module(module), name)
