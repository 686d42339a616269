"""`benchmark.py`: seconds that one face takes, detection and embedding together."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from tqdm import tqdm

from mxface.align.images import read_image
from mxface.cli import HelpFormatter, command, setup_logging
from mxface.deploy.arguments import (
    add_detector_arguments,
    add_image_arguments,
    add_recognition_arguments,
    image_paths,
)
from mxface.deploy.face import no_face
from mxface.deploy.face_embedding import DEFAULT_MODEL, DET_CROPPED_HELP, FaceModel
from mxface.errors import ConfigError

DESCRIPTION = """\
Embed the face of a photograph again and again; print the mean seconds of one time.

  cd deploy && python benchmark.py --model ../models/y1/model,0 --image face.jpg --count 100
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print one number."""
    parser = argparse.ArgumentParser(prog="benchmark.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    add_image_arguments(parser)
    add_detector_arguments(parser, det=2, det_help=DET_CROPPED_HELP)
    add_recognition_arguments(parser, model=DEFAULT_MODEL)
    parser.add_argument("--count", type=int, default=3000, help="how many times")
    args = parser.parse_args(argv)
    setup_logging()
    if args.count < 1:
        raise ConfigError(f"--count {args.count}: must be 1 or more")
    path = image_paths(args.image)[0]
    img = read_image(path)
    model = FaceModel(args)
    if model.get_feature(img) is None:  # also the warm-up
        raise no_face(path)
    begin = time.perf_counter()
    for _ in tqdm(range(args.count), unit="face", disable=None):
        model.get_feature(img)
    print((time.perf_counter() - begin) / args.count)
    return 0
