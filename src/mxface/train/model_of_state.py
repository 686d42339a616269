"""Models out of training states, and class centres in parts.

A model's class centres `fc7_weight` (C, D) and biases `fc7_bias` (C,) in n parts are files of rows as 2019's
train_parall.py had them on n GPUs, k = ceil(C / n) classes a part, the last perhaps fewer:

    FOLDER/fc7_<i>.params                             arg:fc7_<i>_weight, arg:fc7_<i>_bias: classes i * k to (i + 1) * k
           model-symbol.json, model-NNNN.params       all the rest
"""

from __future__ import annotations

import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mxface.errors import ConfigError, DataError
from mxface.formats.checkpoint import list_epochs
from mxface.formats.params import read_params, write_params
from mxface.graph import Checkpoint, Symbol, load_checkpoint, save_checkpoint
from mxface.losses.class_shard import class_range
from mxface.losses.softmax_head import BIAS, WEIGHT
from mxface.outputs import require_new
from mxface.ranks import Ranks
from mxface.train.state import StateFolder
from mxface.train.state_files import read_tensors
from mxface.train.state_metadata import METADATA_FILE, read_metadata, stored_tensors

EMBEDDING = "fc1_output"
BACKBONE, HEAD = "backbone/", "head/"
CENTRES = (WEIGHT, BIAS)
PART_NAME = re.compile(r"fc7_(\d+)\.params", re.ASCII)
MAPPED_BYTES = 1 << 28


def find_state(path: Path) -> Path:
    """The training state meant by its own folder, by the `state` folder, or by that of the run: then the newest."""
    if (path / METADATA_FILE).is_file():
        return path
    for folder in (path, path / "state"):
        states = StateFolder(folder).list_states()
        if states:
            return states[-1]
    raise DataError(f"{path}: no training state; name a step-… folder, or the folder of a run that has saved one")


def read_tables(state: Path, names: Sequence[str], scratch: Path) -> dict[str, Tensor]:
    """Tensors of a state by name, whole whatever the number of ranks was.

    Large ones are maps of files in `scratch` that have no name any more, so that they need not fit into memory.
    """
    metadata = read_metadata(state)
    stored = stored_tensors(metadata)
    tables = {name: _new_table(stored[name].size, stored[name].properties.dtype, scratch) for name in names}
    read_tensors(state, metadata, tables, sharded={}, ranks=Ranks.single())
    return tables


def model_of_state(state: Path, symbol: Symbol, *, with_head: bool, scratch: Path) -> Checkpoint:
    """The model that a state holds: the embedding, and `with_head` the class centres beside it.

    Where `symbol` goes on to a head, it is cut at the embedding unless the head is wanted.
    """
    stored = stored_tensors(read_metadata(state))
    if not with_head and EMBEDDING not in symbol.list_outputs():
        symbol = symbol.select_outputs([EMBEDDING])
    sources = {name.removeprefix(BACKBONE): name for name in stored if name.startswith(BACKBONE)}
    if with_head:
        sources |= {name: HEAD + name for name in CENTRES if HEAD + name in stored}
    states = [name for name in symbol.list_auxiliary_states() if name in sources]
    in_graph = [name for name in symbol.list_arguments() if name in sources and name not in CENTRES]
    missing = sorted(set(sources) - {*states, *in_graph, *CENTRES})
    if missing:
        raise ConfigError(
            f"{state}: {missing[0]} is not in the graph; name the model-symbol.json of its run (--symbol)"
        )
    arguments = in_graph + [name for name in CENTRES if name in sources]
    tables = read_tables(state, list(sources.values()), scratch)
    arrays = {name: tables[source].contiguous().numpy() for name, source in sources.items()}
    return Checkpoint(symbol, {name: arrays[name] for name in arguments}, {name: arrays[name] for name in states})


def write_split(model: Checkpoint, epoch: int, num_parts: int, folder: Path) -> list[Path]:
    """Write a model with its class centres in parts to a new folder, which appears whole; the parts' paths."""
    if WEIGHT not in model.arg_params:
        raise DataError(f"the model has no {WEIGHT}: nothing to split; a training state has the class centres")
    num_classes = len(model.arg_params[WEIGHT])
    ranges = [class_range(num_classes, Ranks(rank, num_parts)) for rank in range(num_parts)]
    if not ranges[-1]:
        rows = len(ranges[0])
        filled = math.ceil(num_classes / rows)
        raise ConfigError(
            f"--ranks {num_parts}: {num_classes} classes, {rows} a part ({num_classes} / {num_parts} rounded up), fill "
            f"{filled} parts, and the others would be empty; choose --ranks {filled}"
        )
    require_new(folder, "--output")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
    try:
        for number, own in enumerate(ranges):
            parts = {name: model.arg_params[name][own.start : own.stop] for name in CENTRES if name in model.arg_params}
            named = {f"arg:{_part_name(name, number)}": array for name, array in parts.items()}
            write_params(temporary / f"fc7_{number}.params", named)
        rest = {name: array for name, array in model.arg_params.items() if name not in CENTRES}
        save_checkpoint(temporary / "model", epoch, model.symbol, rest, model.aux_params)
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / f"fc7_{number}.params" for number in range(num_parts)]


def read_split(folder: Path, scratch: Path, num_classes: int | None = None) -> Checkpoint:
    """The model of `write_split`'s folder. Rows behind `num_classes` are 2019's phantom classes, and left out."""
    epochs = list_epochs(folder / "model")
    if len(epochs) != 1:
        raise DataError(f"{folder}: {len(epochs)} model-NNNN.params, expected the one that the parts belong to")
    rest = load_checkpoint(folder / "model", epochs[0])
    centres = {}
    for name in CENTRES:
        parts = list(_parts_of(folder, name))
        if parts:
            centres[name] = _joined(parts, name, scratch, num_classes).numpy()
    if WEIGHT not in centres:
        raise DataError(f"{folder}: no fc7_0.params with arg:fc7_0_weight; expected what split writes")
    return Checkpoint(rest.symbol, {**rest.arg_params, **centres}, rest.aux_params)


def is_split(folder: Path) -> bool:
    """Whether there are class centres in parts."""
    return (folder / "fc7_0.params").is_file()


def _parts_of(folder: Path, name: str) -> Iterator[np.ndarray]:
    """This table's parts in their order, as views of the files."""
    numbers = sorted(int(match[1]) for path in folder.iterdir() if (match := PART_NAME.fullmatch(path.name)))
    if numbers != list(range(len(numbers))):
        lost = min(set(range(len(numbers))) - set(numbers))
        raise DataError(f"{folder}: fc7_{lost}.params is missing, of parts up to fc7_{numbers[-1]}.params")
    for number in numbers:
        arrays = read_params(folder / f"fc7_{number}.params")
        key = f"arg:{_part_name(name, number)}"
        if key in arrays:
            yield arrays[key]
        elif name == WEIGHT:
            raise DataError(f"{folder / f'fc7_{number}.params'}: no {key} among {', '.join(arrays)}")


def _joined(parts: Sequence[np.ndarray], name: str, scratch: Path, num_classes: int | None) -> Tensor:
    shapes = {part.shape[1:] for part in parts}
    rows = sum(len(part) for part in parts)
    if len(shapes) > 1:
        raise DataError(f"parts of {name} with rows of different shapes {sorted(shapes)}: they are of different models")
    if num_classes is not None and not 0 < num_classes <= rows:
        raise ConfigError(f"--num-classes {num_classes}: the parts of {name} have {rows} rows")
    table = _new_table((num_classes or rows, *parts[0].shape[1:]), torch.from_numpy(parts[0][:0].copy()).dtype, scratch)
    start = 0
    for part in parts:
        kept = part[: len(table) - start]
        table[start : start + len(kept)] = torch.from_numpy(kept)
        start += len(kept)
    return table


def _part_name(name: str, number: int) -> str:
    return name.replace("fc7_", f"fc7_{number}_", 1)


def _new_table(size: Sequence[int], dtype: torch.dtype, scratch: Path) -> Tensor:
    """An empty tensor; a large one as `read_tables` says."""
    bytes_needed = math.prod(size) * dtype.itemsize
    if bytes_needed < MAPPED_BYTES:
        return torch.empty(tuple(size), dtype=dtype)
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=".mxface.", suffix=".tmp") as file:
        os.posix_fallocate(file.fileno(), 0, bytes_needed)  # a full disk is an error here, and a SIGBUS later
        return torch.from_file(file.name, shared=True, size=math.prod(size), dtype=dtype).view(tuple(size))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
