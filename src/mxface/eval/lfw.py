"""`lfw.py`: verify a model on Labelled Faces in the Wild as it lies on the disk, without packing it.

2019's module was a library; the command is new. Both accuracies are computed, as there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mxface.align.geometry import parse_image_size
from mxface.cli import HelpFormatter, command
from mxface.eval.protocol import PairSet, Say, decode_pair_set
from mxface.eval.verification import add_model_flags, load_models, print_figures, verify_printing
from mxface.formats.lfw_pairs import get_paths, read_pairs

PAIRS_FILE = "pairs.txt"

DESCRIPTION = f"""\
Verify a model on a folder in LFW's layout: aligned DIR/NAME/NAME_%04d.jpg and DIR/{PAIRS_FILE}.

  python src/eval/lfw.py --data-dir datasets/lfw --image-size 112,112 --model models/model-y1-test2/model,0
""".replace("%", "%%")


def load_dataset(
    folder: str | os.PathLike[str],
    image_size: tuple[int, int],
    *,
    pairs_path: str | os.PathLike[str] | None = None,
    say: Say = print,
) -> PairSet:
    """The pairs of `pairs_path` (default: the folder's own), decoded; those with a missing picture are left out.

    Raises FormatError on a bad line of the list, DataError on a bad picture or where no pair is left.
    """
    folder = Path(folder)
    paths, issame = get_paths(folder, read_pairs(pairs_path or folder / PAIRS_FILE), say=say)
    return decode_pair_set("lfw", (path.read_bytes() for path in paths), issame, image_size, say=say)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Load, verify, print."""
    parser = argparse.ArgumentParser(prog="lfw.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--data-dir", required=True, help="folder with one folder of aligned pictures a person")
    parser.add_argument("--pairs", help=f"list of pairs (default: {PAIRS_FILE} in the data's folder)")
    parser.add_argument("--image-size", default="112,112", metavar="H,W", help="height and width of the pictures")
    add_model_flags(parser)
    args = parser.parse_args(argv)
    pairs = load_dataset(args.data_dir, parse_image_size(args.image_size), pairs_path=args.pairs)
    for model in load_models(args):
        print_figures(pairs.name, verify_printing(model, pairs, args))
    return 0
