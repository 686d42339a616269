"""`lfw2pack.py`: pack the pairs of a folder in LFW's layout into a verification set (`.bin`)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mxface.cli import HelpFormatter, command, setup_logging
from mxface.errors import DataError
from mxface.formats.evalset import write_evalset
from mxface.formats.lfw_pairs import get_paths, read_pairs
from mxface.outputs import require_file

logger = logging.getLogger(__name__)

IMAGES_PER_REPORT = 1000

DESCRIPTION = """\
Pack the aligned images NAME/NAME_0001.jpg of a folder and its pairs.txt (LFW's form) into a verification set.

  python src/data/lfw2pack.py --data-dir datasets/lfw --output datasets/faces/lfw.bin

The files are stored as they are. A pair with a missing file is reported and left out.
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Read the pairs, gather the files, write the set."""
    parser = argparse.ArgumentParser(prog="lfw2pack.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the aligned images")
    parser.add_argument("--pairs", type=Path, help="pairs.txt (default: the one in the folder)")
    parser.add_argument("--output", type=Path, required=True, help="the .bin file to write")
    parser.add_argument("--image-size", help="accepted and ignored, as in 2019: files are stored as they are")
    args = parser.parse_args(argv)
    setup_logging()
    if args.image_size is not None:
        logger.warning("--image-size has no effect: the files are stored as they are")
    require_file(args.output, "--output")
    pairs = args.pairs or args.data_dir / "pairs.txt"
    paths, issame = get_paths(args.data_dir, read_pairs(pairs), say=print)
    if not issame:
        raise DataError(f"no pair of {pairs} has both its files in {args.data_dir}")
    write_evalset(args.output, read_images(paths), issame)
    print(f"{args.output}: {len(issame)} pairs, {sum(issame)} of the same person")
    return 0


def read_images(paths: Sequence[Path]) -> list[bytes]:
    """The bytes of each file."""
    images = []
    for count, path in enumerate(tqdm(paths, unit="img", desc="pairs", disable=None), start=1):
        images.append(path.read_bytes())
        if count % IMAGES_PER_REPORT == 0:
            tqdm.write(f"loading lfw {count}")
    return images
