"""The files of one training state, an ordinary checkpoint of `torch.distributed.checkpoint`.

    step-00002000/.metadata       a pickle: every tensor's shape, type and parts, and where these lie
                  __R_0.distcp    what rank R wrote: parts one after the other, each as torch.save writes a tensor

A *sharded* tensor is split by rows over ranks (`losses.class_shard`): each rank writes those that it has and reads
those that it needs, whatever the number of ranks was. Every other tensor is the same on all ranks and written once.
Large tensors are written in parts of at most PART_BYTES, so that neither writing nor reading holds a second copy.

Nothing is trusted: of the pickle see `train.state_metadata`; a part's length is held against its file, its CRC-32
against its bytes, and it is read by `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.futures import Future

from mxface.losses.class_shard import class_range
from mxface.ranks import Ranks
from mxface.train.state_metadata import METADATA_FILE, damaged, stored_tensors

PART_BYTES = 1 << 24


def write_tensors(folder: Path, state: Mapping[str, Tensor], *, sharded: Mapping[str, int], ranks: Ranks) -> None:
    """Write this rank's part of a state, all ranks together; `sharded` gives the rows of whole tensors by name.

    An error on one rank is raised on all; OSError where it was the disk's.
    """
    writer = _Writer(folder, ranks)
    with _in_words():
        save(dict(state), storage_writer=writer, planner=_PartsWriter(sharded, ranks))


def read_tensors(
    folder: Path, metadata: Metadata, state: Mapping[str, Tensor], *, sharded: Mapping[str, int], ranks: Ranks
) -> None:
    """Fill the tensors of `state` in place, all ranks together; FormatError on all where one finds damage.

    `metadata` is of `read_metadata`, and has these names with these shapes.
    """
    reader = _Reader(folder, metadata, ranks)
    with _in_words():
        load(dict(state), storage_reader=reader, planner=_PartsReader(sharded, ranks))


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Raise what went wrong on the first rank where something did, and spare the user torch's remarks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is .*, assuming the intent is to")
        try:
            yield
        except CheckpointException as exc:
            cause, _ = next(iter(exc.failures.values()))
            raise cause from None


# ---------------------------------------------------------------------------------------------------------- writing


class _Writer(FileSystemWriter):
    """Torch's writer, which hides the disk's errors behind its own; ranks wait for one another, however slow a disk."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        super().__init__(folder, overwrite=False)
        self._ranks = ranks

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[Any]]:
        try:
            with self._ranks.at_work():
                return super().write_data(plan, planner)
        except Exception as exc:
            cause: BaseException | None = exc
            while cause is not None and not isinstance(cause, OSError):
                cause = cause.__context__
            raise (cause or exc) from None


class _PartsWriter(DefaultSavePlanner):
    """Plans what each rank writes: its rows of the sharded tensors, and its share of what all have alike."""

    def __init__(self, sharded: Mapping[str, int], ranks: Ranks) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._sharded, self._ranks = sharded, ranks
        self._parts: dict[MetadataIndex, Tensor] = {}

    def create_local_plan(self) -> SavePlan:
        items = [item for name, tensor in self.state_dict.items() for item in self._items(name, tensor.detach())]
        self.plan = SavePlan(items)
        return self.plan

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        seen: dict[MetadataIndex, TensorWriteData | None] = {}
        for item in (item for plan in all_plans for item in plan.items):
            assert seen.setdefault(item.index, item.tensor_data) == item.tensor_data, f"{item.index.fqn} is not sharded"
        return super().create_global_plan(all_plans)

    def lookup_object(self, index: MetadataIndex) -> Tensor:
        return self._parts[index]

    def _items(self, name: str, tensor: Tensor) -> Iterator[WriteItem]:
        whole, start = _whole_size(name, tensor, self._sharded, self._ranks)
        for row, part in _split(tensor):
            offsets = torch.Size([start + row, *(0 for _ in tensor.shape[1:])][: tensor.dim()])
            index = MetadataIndex(name, offsets)
            self._parts[index] = part
            data = TensorWriteData(
                chunk=ChunkStorageMetadata(offsets, part.size()),
                properties=TensorProperties.create_from_tensor(part),
                size=whole,
            )
            yield WriteItem(index=index, type=WriteItemType.SHARD, tensor_data=data)


def _split(tensor: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, rows) of parts of at most PART_BYTES; none of a tensor without elements."""
    if tensor.numel() == 0:
        return
    if tensor.dim() == 0:
        yield 0, tensor
        return
    rows = max(1, PART_BYTES // (tensor[0].numel() * tensor.element_size()))
    for row in range(0, len(tensor), rows):
        yield row, tensor[row : row + rows]


def _whole_size(name: str, tensor: Tensor, sharded: Mapping[str, int], ranks: Ranks) -> tuple[torch.Size, int]:
    """The size of the tensor over all ranks, and the row of it where this rank's begin."""
    if name not in sharded:
        return tensor.size(), 0
    own = class_range(sharded[name], ranks)
    assert len(tensor) == len(own), f"{name}: {len(tensor)} rows on rank {ranks.rank}, which owns {own}"
    return torch.Size((sharded[name], *tensor.shape[1:])), own.start


# ---------------------------------------------------------------------------------------------------------- reading


class _PartsReader(DefaultLoadPlanner):
    """Plans which stored parts a rank reads into its rows."""

    def __init__(self, sharded: Mapping[str, int], ranks: Ranks) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._sharded, self._ranks = sharded, ranks

    def create_local_plan(self) -> LoadPlan:
        assert self.metadata is not None
        items: list[ReadItem] = []
        for name, tensor in self.state_dict.items():
            if tensor.numel():
                items += self._items(name, tensor, stored_tensors(self.metadata)[name])
        return LoadPlan(items)

    def resolve_tensor(self, read_item: ReadItem) -> Tensor:
        tensor: Tensor = self.state_dict[read_item.dest_index.fqn].detach()
        return _box(tensor, read_item.dest_offsets, read_item.lengths)

    def _items(self, name: str, tensor: Tensor, stored: TensorStorageMetadata) -> list[ReadItem]:
        _, start = _whole_size(name, tensor, self._sharded, self._ranks)
        offsets = torch.Size([start, *(0 for _ in tensor.shape[1:])][: tensor.dim()])
        items = create_read_items_for_chunk_list(name, stored, [ChunkStorageMetadata(offsets, tensor.size())])
        found = sum(math.prod(item.lengths) for item in items)
        if found != tensor.numel():
            raise damaged(Path(METADATA_FILE), f"{found} elements of {name}", f"{tensor.numel()}")
        return items


class _Reader(FileSystemReader):
    """Torch's reader, with metadata that were checked before, and bytes that are checked here; waits as `_Writer`."""

    def __init__(self, path: Path, metadata: Metadata, ranks: Ranks) -> None:
        super().__init__(path)
        self._metadata = metadata
        self._folder = path
        self._ranks = ranks

    def read_metadata(self, *_args: Any, **_kwargs: Any) -> Metadata:
        return self._metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        with self._ranks.at_work(), contextlib.ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for item in plan.items:
                info = self._metadata.storage_data.get(item.storage_index)
                if info is None:
                    raise damaged(self._folder / METADATA_FILE, f"no place of {item.storage_index.fqn}", "one")
                path = self._folder / info.relative_path
                if path.name not in files:
                    files[path.name] = stack.enter_context(_open(path))
                part = _read_part(files[path.name], path, info.offset, info.length)
                try:
                    planner.resolve_tensor(item).copy_(_box(part, item.storage_offsets, item.lengths))
                except (RuntimeError, IndexError) as exc:
                    found = f"{item.storage_index.fqn} of shape {tuple(part.shape)}"
                    raise damaged(path, found, f"rows that its metadata promise ({exc})", offset=info.offset) from exc
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as exc:
        raise damaged(path, f"a file that cannot be read ({exc.strerror})", "tensors of a training state") from exc


def _read_part(file: IO[bytes], path: Path, offset: int, length: int) -> Tensor:
    """The tensor in these bytes of `file`, after a check of its CRC."""
    size = path.stat().st_size
    if not 0 <= offset <= offset + length <= size:
        raise damaged(path, f"{size} bytes", f"at least {offset + length}")
    file.seek(offset)
    data = io.BytesIO(file.read(length))
    try:
        with zipfile.ZipFile(data) as archive:
            broken = archive.testzip()
        data.seek(0)
        part = None if broken else torch.load(data, map_location="cpu", weights_only=True)
    except Exception as exc:  # damaged bytes raise nearly anything
        raise damaged(path, f"damaged bytes ({exc})", "a tensor", offset=offset) from exc
    if not isinstance(part, Tensor):
        found = f"bytes of another CRC-32 ({broken})" if broken else f"a {type(part).__name__}"
        raise damaged(path, found, "a tensor", offset=offset)
    return part


def _box(tensor: Tensor, offsets: torch.Size, lengths: torch.Size) -> Tensor:
    for dim, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        tensor = tensor.narrow(dim, offset, length)
    return tensor
