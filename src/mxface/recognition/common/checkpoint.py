"""`checkpoint.py`: what is in a training state or a model, and how one becomes the other."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mxface.cli import HelpFormatter, command
from mxface.errors import ConfigError, DataError, FormatError
from mxface.formats.checkpoint import one_epoch, params_path, symbol_path
from mxface.formats.params import read_params
from mxface.graph import Checkpoint, load_checkpoint, load_symbol, save_checkpoint
from mxface.outputs import output_folder, require_new
from mxface.train.model_of_state import find_state, is_split, model_of_state, read_split, read_tables, write_split
from mxface.train.state import StateFolder
from mxface.train.state_metadata import METADATA_FILE, read_metadata, stored_tensors

DESCRIPTION = """\
Look into training states and models, and make one of the other.

  cd recognition/common
  python checkpoint.py inspect ../../models/r100-arcface-emore                          the states and models of a run
  python checkpoint.py inspect ../../models/r100-arcface-emore/state/step-00002000 --norms
  python checkpoint.py merge ../../models/r100-arcface-emore --output ../../models/r100/model,0
  python checkpoint.py split ../../models/r100/model,0 --ranks 8 --output ../../models/r100-in-8
  python checkpoint.py merge ../../models/r100-in-8 --output ../../models/r100-again/model,0

A training state (state/step-…) holds everything of a run: network, momentum, class centres, counters. Any number of
ranks reads it, whatever number wrote it: it needs neither merge nor split. A model (PREFIX-symbol.json and
PREFIX-NNNN.params) is what MXNet and the deploy commands read.
"""
MERGE = """\
Write a model from a training state: the embedding, and --with-head the class centres fc7_weight and fc7_bias too, which
--pretrained takes up again. SOURCE is a step-… folder, or the folder of a run, whose newest state counts.
Or, where SOURCE is a folder that split has written: put the class centres together again.

  python checkpoint.py merge ../../models/r100-arcface-emore --output ../../models/r100/model,0 --with-head
"""
SPLIT = """\
Write class centres in parts, as train_parall.py of 2019 held them on N GPUs: fc7_<i>.params with arg:fc7_<i>_weight,
ceil(classes / N) rows each, the last perhaps fewer; and the rest of the model beside them. SOURCE is a model with
class centres, PREFIX,EPOCH, or a training state as in merge. merge puts the parts together, bit for bit.

  python checkpoint.py split ../../models/r100-arcface-emore --ranks 8 --output ../../models/r100-in-8
"""
INSPECT = """\
Say what there is. PATH is a training state (step-…), a .params file, a model PREFIX,EPOCH, or a folder with any of
these. --norms reads every number, and so finds damage.

  python checkpoint.py inspect ../../models/r100-arcface-emore/state/step-00002000 --norms
"""
SYMBOL_NAME = "model-symbol.json"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    args = _parser().parse_args(argv)
    args.run(args)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="checkpoint.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    actions = parser.add_subparsers(required=True, metavar="inspect | merge | split")

    inspect = actions.add_parser(
        "inspect", description=INSPECT, formatter_class=HelpFormatter, help="say what there is"
    )
    inspect.add_argument("path", metavar="PATH")
    inspect.add_argument("--norms", action="store_true", help="also the L2 norm of each tensor")
    inspect.set_defaults(run=lambda args: inspect_path(args.path, norms=args.norms))

    merge = actions.add_parser(
        "merge", description=MERGE, formatter_class=HelpFormatter, help="a model from a training state, or from parts"
    )
    merge.add_argument("source", type=Path, metavar="SOURCE")
    merge.add_argument("--output", required=True, metavar="PREFIX,EPOCH", help="the model to write")
    merge.add_argument("--with-head", action="store_true", help="the class centres too")
    merge.add_argument("--symbol", type=Path, help=f"graph of a state's network (default: its run's {SYMBOL_NAME})")
    merge.add_argument("--num-classes", type=int, help="of parts: leave the rows behind out, 2019's phantom classes")
    merge.set_defaults(run=run_merge)

    split = actions.add_parser(
        "split", description=SPLIT, formatter_class=HelpFormatter, help="class centres in parts, as 2019 had them"
    )
    split.add_argument("source", metavar="SOURCE")
    split.add_argument("--ranks", type=int, required=True, metavar="N", help="number of parts")
    split.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    split.add_argument("--symbol", type=Path, help=f"graph of a state's network (default: its run's {SYMBOL_NAME})")
    split.set_defaults(run=run_split)
    return parser


def run_merge(args: argparse.Namespace) -> None:
    """merge."""
    prefix, epoch = one_epoch("--output", args.output)
    folder = Path(prefix).parent
    parts = is_split(args.source)
    if parts and (args.with_head or args.symbol):
        raise ConfigError("--with-head and --symbol are for a training state; SOURCE is parts, which have both")
    if not parts and args.num_classes is not None:
        raise ConfigError("--num-classes is for parts; SOURCE is a training state, which has no phantom classes")
    with output_folder(folder, "--output"):
        if parts:
            model = read_split(args.source, folder, args.num_classes)
        else:
            model = _read_state(find_state(args.source), args.symbol, with_head=args.with_head, scratch=folder)
        save_checkpoint(prefix, epoch, model.symbol, model.arg_params, model.aux_params)
    print(f"written: {params_path(prefix, epoch)}")


def run_split(args: argparse.Namespace) -> None:
    """split."""
    if args.ranks < 1:
        raise ConfigError(f"--ranks {args.ranks}: expected a number of parts above 0")
    require_new(args.output, "--output")  # before the work
    is_state = Path(args.source).is_dir()
    if args.symbol and not is_state:
        raise ConfigError("--symbol is for a training state; SOURCE is a model, which has its own")
    folder = args.output.resolve().parent
    with output_folder(folder, "--output"):
        if is_state:
            model, epoch = _read_state(find_state(Path(args.source)), args.symbol, with_head=True, scratch=folder), 0
        else:
            prefix, epoch = one_epoch("SOURCE", args.source)
            model = load_checkpoint(prefix, epoch)
        for path in write_split(model, epoch, args.ranks, args.output):
            print(f"written: {path}")


def _read_state(state: Path, symbol: Path | None, *, with_head: bool, scratch: Path) -> Checkpoint:
    print("loading", state)
    path = symbol or state.resolve().parent.parent / SYMBOL_NAME
    if not path.is_file():
        raise DataError(f"{path}: no such file; name the graph of the state's network with --symbol")
    return model_of_state(state, load_symbol(path), with_head=with_head, scratch=scratch)


def inspect_path(path: str, *, norms: bool) -> None:
    """Print what lies at `path`."""
    place = Path(path)
    if (place / METADATA_FILE).is_file():
        inspect_state(place, norms=norms)
    elif place.is_dir():
        inspect_folder(place)
    elif place.is_file():
        print_arrays(read_params(place), norms=norms)
    elif "," not in path:
        raise DataError(f"{path}: no such file or folder; a model is named PREFIX,EPOCH")
    else:
        prefix, epoch = one_epoch("PATH", path)
        symbol = load_checkpoint(prefix, epoch).symbol
        print(f"graph: {symbol_path(prefix)}, {len(symbol.nodes)} nodes, outputs {', '.join(symbol.list_outputs())}")
        print_arrays(read_params(params_path(prefix, epoch)), norms=norms)


def inspect_folder(folder: Path) -> None:
    """One line for each state and each model in the folder of a run, or in a folder of states."""
    states = [state for place in (folder, folder / "state") for state in StateFolder(place).list_states()]
    models = sorted(folder.glob("*.params"))
    for state in states:
        try:
            print(f"{state}: {_account(state)}, {_size_text(_bytes_of(state))}")
        except FormatError as error:
            print(f"damaged: {error}")
    for path in models:
        try:
            arrays = read_params(path)
        except FormatError as error:
            print(f"damaged: {error}")
        else:
            print(f"{path}: {len(arrays)} arrays, {_size_text(path.stat().st_size)}")
    if not states and not models:
        raise DataError(f"{folder}: neither training states nor .params files; name a run's folder")


def inspect_state(state: Path, *, norms: bool) -> None:
    """Counters, tensors and files of a training state."""
    print(f"{state}: {_account(state)}")
    rows = []
    for name, entry in sorted(stored_tensors(read_metadata(state)).items()):
        size = entry.size.numel() * entry.properties.dtype.itemsize
        row = [name, tuple(entry.size), str(entry.properties.dtype).removeprefix("torch."), size, len(entry.chunks)]
        if norms:
            table = read_tables(state, [name], state)[name]
            row.append(f"{torch.linalg.vector_norm(table.double()):.6g}" if table.dim() else table.item())
        rows.append(row)
    _print_table(["name", "shape", "dtype", "bytes", "parts", *(["norm"] if norms else [])], rows)
    for path in sorted(state.iterdir()):
        print(f"{path.name}: {_size_text(path.stat().st_size)}")
    print(f"{len(rows)} tensors in {len(list(state.iterdir()))} files, {_size_text(_bytes_of(state))}")


def print_arrays(arrays: Mapping[str, np.ndarray], *, norms: bool) -> None:
    """The arrays of a .params file."""
    rows = []
    for name, array in arrays.items():
        row = [name, array.shape, str(array.dtype), array.nbytes]
        if norms:
            row.append(f"{np.linalg.norm(array.astype(np.float64)):.6g}")
        rows.append(row)
    _print_table(["name", "shape", "dtype", "bytes", *(["norm"] if norms else [])], rows)
    print(f"{len(rows)} arrays, {_size_text(sum(array.nbytes for array in arrays.values()))}")


def _account(state: Path) -> str:
    """Where in its run a state was saved."""
    stored = stored_tensors(read_metadata(state))
    tables = read_tables(state, [name for name, entry in stored.items() if not entry.size], state)
    values = {name.partition("/")[2]: table.item() for name, table in tables.items()}
    known = (
        ("step", "step"),
        ("epoch", "epoch"),
        ("images", "images of it"),
        ("num_images", "images in the data"),
        ("seed", "seed"),
        ("global_batch", "global batch"),
        ("ranks", "ranks"),
    )
    return ", ".join(f"{words} {values[name]}" for name, words in known if name in values)


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _size_text(size: int) -> str:
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [list(titles), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
