"""`verification.py`: how well models tell whether two pictures show one person, on packed sets of pairs."""

from __future__ import annotations

import argparse
import pickle
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mxface.cli import HelpFormatter, command
from mxface.errors import ConfigError, DataError
from mxface.eval.bad_cases import find_bad_cases, write_bad_cases
from mxface.eval.protocol import Embedder, PairSet, VerificationResult, load_pair_set, pixel_embedder, verify
from mxface.eval.report import Judgement, SetReport, write_report
from mxface.formats.atomic import atomic_write
from mxface.formats.checkpoint import list_epochs, params_path, split_model
from mxface.formats.dataset_property import read_property
from mxface.outputs import require_file, require_folder

TEST, BAD_CASES = 0, 1
BAD_CASES_FOLDER = Path("badcases")
DUMP_FILE = Path("temp.bin")
EMBEDDING = "fc1_output"

DESCRIPTION = """\
Verify models on packed sets of pairs (`.bin`): ten-fold accuracy with and without the mirrored picture.

  python src/eval/verification.py --data-dir datasets/orl --model models/orl/model,1 --target orl \\
      --baseline pixels --report verification.html
"""
MODEL_HELP = "PREFIX,EPOCH, PREFIX,EPOCH|EPOCH…, or PREFIX alone: every PREFIX-NNNN.params, the newest first"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to embed."""

    name: str
    embed: Embedder


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Test, draw the bad cases, or dump the embeddings."""
    args = parse_arguments(argv)
    require_outputs(args)
    prop = read_property(args.data_dir)
    image_size = (prop.height, prop.width)
    print("image_size", list(image_size))
    paths = find_sets(Path(args.data_dir), args.target)
    models = load_models(args)
    pair_sets = []
    for path in paths:
        print("loading.. ", path.stem)
        pair_sets.append(load_pair_set(path, image_size, say=print))
    if args.mode == TEST:
        sections = [judge_set(pairs, models, args) for pairs in pair_sets]
        if args.report:
            typed = shlex.join(["verification.py", *(sys.argv[1:] if argv is None else argv)])
            print("wrote", write_report(args.report, sections, command=typed))
        return 0
    result = verify_printing(models[0], pair_sets[0], args)
    if args.mode == BAD_CASES:
        draw_bad_cases(args.target, pair_sets[0], result)
    else:
        dump_embeddings(pair_sets[0], result)
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="verification.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--data-dir", default="", help="folder with `property` and the .bin files")
    parser.add_argument(
        "--target", default="lfw,cfp_ff,cfp_fp,agedb_30", help="sets, comma-separated; a set without a file is skipped"
    )
    add_model_flags(parser)
    parser.add_argument("--mode", type=int, default=TEST, help="0 test, 1 draw the bad cases, other: dump embeddings")
    parser.add_argument("--baseline", choices=["pixels"], help="also judge the pairs by their plain pixels")
    parser.add_argument("--report", metavar="HTML", help="write a report with curves and the worst pairs")
    args = parser.parse_args(argv)
    if args.mode != TEST and (args.report or args.baseline):
        raise ConfigError(f"--report and --baseline belong to --mode 0, not to --mode {args.mode}")
    return args


def require_outputs(args: argparse.Namespace) -> None:
    """Raise ConfigError where what the mode writes could not be written."""
    if args.report:
        require_file(args.report, "--report", makes_folders=True)
    if args.mode == BAD_CASES:
        require_folder(BAD_CASES_FOLDER, f"--mode {args.mode}:")
    elif args.mode != TEST:
        require_file(DUMP_FILE, f"--mode {args.mode}:")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say what embeds, where, and how it is judged."""
    parser.add_argument("--model", default="../model/softmax,50", help=MODEL_HELP)
    parser.add_argument("--max", default="", metavar="A,B", help="of more than B epochs, take numbers A to B-1")
    parser.add_argument(
        "--gpu", type=int, help="GPU number, -1 for the CPU (default: the first GPU of engine torch, else the CPU)"
    )
    parser.add_argument("--engine", default="torch", help="torch, mxnet or onnxruntime")
    parser.add_argument("--dtype", default="float32", help="float32, or bf16 (engine torch)")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures embedded at once")
    parser.add_argument("--nfolds", type=int, default=10, help="folds; 1 finds the threshold on the pairs it judges")


def find_sets(folder: Path, target: str) -> list[Path]:
    """The `.bin` files of the named sets that are there."""
    names = [name.strip() for name in target.split(",") if name.strip()]
    paths = [path for path in (folder / f"{name}.bin" for name in names) if path.is_file()]
    missing = [name for name in names if folder / f"{name}.bin" not in paths]
    if paths and missing:
        print(f"skipped, not in {folder}: {', '.join(f'{name}.bin' for name in missing)}", file=sys.stderr)
    if not paths:
        raise DataError(
            f"none of {', '.join(f'{name}.bin' for name in names)} is in {folder}; see --data-dir, --target"
        )
    return paths


def choose_epochs(prefix: str, epochs: list[int], window: str) -> list[int]:
    """The epochs to load: those named, else all that lie there, the newest first; then cut by `--max A,B`."""
    epochs = epochs or list_epochs(prefix)[::-1]
    if not epochs:
        raise DataError(
            f"no {params_path(prefix, 0).name.replace('0000', 'NNNN')} in {Path(prefix).parent}; see --model"
        )
    if not window:
        return epochs
    first, comma, last = window.partition(",")
    if not (comma and first.strip().isdecimal() and last.strip().isdecimal()) or int(first) >= int(last):
        raise ConfigError(f"--max {window!r}: expected A,B with A below B, as 0,5")
    return epochs[int(first) : int(last)] if len(epochs) > int(last) else epochs


def load_models(args: argparse.Namespace) -> list[LoadedModel]:
    """Load every model that `--model` names, cut at its embedding, telling of each."""
    from mxface.runtime import choose_device, load_predictor, make_embedder  # loads torch

    for flag, value in (("--batch-size", args.batch_size), ("--nfolds", args.nfolds)):
        if value < 1:
            raise ConfigError(f"{flag} {value}: must be 1 or more")
    prefix, epochs = split_model(args.model)
    epochs = choose_epochs(prefix, epochs, args.max)
    started = time.perf_counter()
    print("model number", len(epochs))
    models = []
    for epoch in epochs:
        print("loading", prefix, epoch)
        device = choose_device(args.gpu, engine=args.engine)
        predictor = load_predictor(
            prefix, epoch, outputs=[EMBEDDING], engine=args.engine, device=device, dtype=args.dtype
        )
        embed = make_embedder(predictor, output=EMBEDDING)
        models.append(LoadedModel(f"{Path(prefix).name}-{epoch:04d}", embed))
    print("model loading time", time.perf_counter() - started)
    return models


def verify_printing(model: LoadedModel, pairs: PairSet, args: argparse.Namespace) -> VerificationResult:
    """`verify` with a bar on stderr and 2019's lines on stdout."""
    return verify(model.embed, pairs, batch_size=args.batch_size, nrof_folds=args.nfolds, progress=True, say=print)


def judge_set(pairs: PairSet, models: Sequence[LoadedModel], args: argparse.Namespace) -> SetReport:
    """Judge a set by every model and print the figures."""
    judgements = []
    for model in models:
        result = verify_printing(model, pairs, args)
        print_figures(pairs.name, result)
        judgements.append(Judgement.of(model.name, result))
    print(f"Max of [{pairs.name}] is {max(judgement.flip.mean for judgement in judgements):1.5f}")
    baseline = None
    if args.baseline:
        result = verify(pixel_embedder(), pairs, nrof_folds=args.nfolds, progress=True)
        print(f"[{pairs.name}]Accuracy-Pixels: {result.acc1:1.5f}+-{result.std1:1.5f}")
        print(f"[{pairs.name}]Accuracy-Flip-Pixels: {result.acc2:1.5f}+-{result.std2:1.5f}")
        baseline = Judgement.of("plain pixels", result)
    return SetReport(pairs, judgements, baseline)


def print_figures(name: str, result: VerificationResult) -> None:
    """2019's three lines of a set, with the accuracy without the mirrored picture computed."""
    print(f"[{name}]XNorm: {result.xnorm:f}")
    print(f"[{name}]Accuracy: {result.acc1:1.5f}+-{result.std1:1.5f}")
    print(f"[{name}]Accuracy-Flip: {result.acc2:1.5f}+-{result.std2:1.5f}")


def draw_bad_cases(name: str, pairs: PairSet, result: VerificationResult) -> None:
    """Draw the wrongly judged pairs into ./badcases."""
    negatives, positives = find_bad_cases(result.flip, pairs.issame)
    print(len(negatives), len(positives))
    print("acc", result.acc2)
    for path in write_bad_cases(BAD_CASES_FOLDER, name, pairs, result.flip):
        print("wrote", path)


def dump_embeddings(pairs: PairSet, result: VerificationResult) -> None:
    """Pickle (embeddings (2P, D), list of issame) into ./temp.bin."""
    with atomic_write(DUMP_FILE) as file:
        pickle.dump((result.embeddings, pairs.issame.tolist()), file, protocol=4)
    print("wrote", DUMP_FILE)
