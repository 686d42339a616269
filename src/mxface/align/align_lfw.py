"""`align_lfw.py`: the face in every photograph of a folder, aligned, with a list for face2rec2.py."""

from __future__ import annotations

import argparse
import enum
import functools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from mxface.align.geometry import Image, choose_face, parse_image_size, preprocess
from mxface.align.images import read_image, write_image
from mxface.cli import HelpFormatter, command, setup_logging
from mxface.data.folders import FolderImage, list_faces
from mxface.errors import ConfigError, DataError
from mxface.formats.atomic import atomic_write
from mxface.formats.lst import ListItem, format_line
from mxface.loaders.ordered_map import ordered_map
from mxface.outputs import require_folder

if TYPE_CHECKING:
    from mxface.detect.mtcnn import Detection, MtcnnDetector

DESCRIPTION = """\
Align INPUT_DIR/PERSON/IMAGE to OUTPUT_DIR/PERSON/IMAGE and list them in OUTPUT_DIR/lst (1, path, label; tab-separated).

Of several faces the large and central one is taken. An image without a face is not left out: its centre is resized, as
in 2019; with --force 1 the whole image is tried as one loosely cropped face first. What cannot be read is reported.

  python src/align/align_lfw.py --input-dir datasets/lfw/raw --output-dir datasets/lfw/aligned
"""

# The score that ONet must pass with --force: deploy's for an image known to be a face.
_FORCED_THRESHOLDS = (0.0, 0.0, 0.2)


class Outcome(enum.Enum):
    """What became of an image; the first three are also 2019's counters, in their order."""

    FOUND = "face found"
    MISSED = "no face: centre crop"
    FORCED = "no face at first: taken as one loosely cropped face"
    SKIPPED = "skipped: not an image"


class FaceAligner:
    """Aligns the face that is meant in an image; `forced` detects in images where `detector` finds none."""

    def __init__(self, detector: MtcnnDetector, forced: MtcnnDetector | None, image_size: str) -> None:
        self.detector = detector
        self.forced = forced
        self.image_size = image_size

    def align(self, img: Image) -> tuple[Image, Outcome]:
        """The aligned face of a BGR image, and how it came about."""
        detection = self.detector.detect_face(img)
        if detection is not None:
            return self._warp(img, detection), Outcome.FOUND
        if self.forced is not None:
            detection = self.forced.detect_face_limited(img)
            if detection is not None:
                return self._warp(img, detection), Outcome.FORCED
        return preprocess(img, image_size=self.image_size), Outcome.MISSED

    def _warp(self, img: Image, detection: Detection) -> Image:
        boxes, points = detection
        chosen = choose_face(boxes, (img.shape[0], img.shape[1]))
        return preprocess(img, boxes[chosen], points[chosen].reshape(2, 5).T, self.image_size)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Align every image, then write the list."""
    args = parse_arguments(argv)
    setup_logging()
    parse_image_size(args.image_size)
    if args.threads < 0:
        raise ConfigError(f"--threads {args.threads}: give a number, or 0 for all CPU cores")
    if args.output_dir.resolve() == args.input_dir.resolve():
        raise ConfigError(f"--output-dir {args.output_dir} is the input folder: the photographs would be overwritten")
    require_folder(args.output_dir, "--output-dir")
    faces = list(list_faces(args.input_dir))
    if not faces:
        raise DataError(f"{args.input_dir} holds no image; its layout must be PERSON/IMAGE")
    print("dataset size", len(faces))
    print("Creating networks and loading parameters")
    threads = args.threads or os.cpu_count() or 1
    aligners = load_aligners(args, threads)
    work = functools.partial(align_file, aligners=aligners, output_dir=args.output_dir)
    outcomes: Counter[Outcome] = Counter()
    lines = []
    results = ordered_map(work, faces, threads=threads, window=8 * threads)
    for outcome, text in tqdm(results, total=len(faces), unit="img", disable=None):
        if outcome is Outcome.SKIPPED:
            tqdm.write(text)
        else:
            lines.append(text + "\n")
        outcomes[outcome] += 1
        if sum(outcomes.values()) % 100 == 0:
            tqdm.write(progress_text(outcomes))
    if not lines:
        raise DataError(f"none of the {len(faces)} files in {args.input_dir} is an image")
    with atomic_write(args.output_dir / "lst", "w") as file:
        file.writelines(lines)
    for outcome, count in outcomes.items():
        print(f"{count} × {outcome.value}")
    print(f"list: {args.output_dir / 'lst'}")
    return 0


def align_file(face: FolderImage, *, aligners: SimpleQueue[FaceAligner], output_dir: Path) -> tuple[Outcome, str]:
    """Write one aligned image with the next free aligner; returns its line of the list, or why it was skipped."""
    target = output_dir / face.person / face.path.name
    try:
        img = read_image(face.path)
        aligner = aligners.get()
        try:
            aligned, outcome = aligner.align(img)
        finally:
            aligners.put(aligner)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, aligned)
    except DataError as exc:
        return Outcome.SKIPPED, str(exc)
    return outcome, format_line(ListItem(aligned=True, path=str(target), label=face.label))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="align_lfw.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--input-dir", type=Path, required=True, help="folder with one folder of images a person")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder to write")
    parser.add_argument("--image-size", default="112,112", help="height,width: 112,112 or 112,96")
    parser.add_argument("--minsize", type=int, default=20, help="side of the smallest face to look for, in pixels")
    parser.add_argument("--threshold", default="0.6,0.7,0.9", help="scores that PNet, RNet and ONet must pass")
    parser.add_argument("--factor", type=float, default=0.85, help="each step of the image pyramid is so much smaller")
    parser.add_argument("--force", type=int, default=0, help="1: images without a face found are taken as one face")
    parser.add_argument("--threads", type=int, default=0, help="images worked on at once; 0: as many as CPU cores")
    parser.add_argument("--gpu", type=int, help="index of the GPU; -1: the CPU (default: the first GPU, else the CPU)")
    parser.add_argument("--mtcnn-path", type=Path, help="folder of det1 … det3 (default: mtcnn-model, models/mtcnn)")
    return parser.parse_args(argv)


def load_aligners(args: argparse.Namespace, count: int) -> SimpleQueue[FaceAligner]:
    """As many aligners as there are threads, for a network runs in one thread at a time.

    Landmarks are always det3's, as in 2019's align commands.
    """
    import torch

    from mxface.detect.mtcnn import MtcnnDetector
    from mxface.detect.mtcnn_networks import find_model_folder, load_networks
    from mxface.runtime import choose_device

    # The maps of small images are not worth splitting: two threads on one image are slower than one.
    torch.set_num_threads(1)
    folder, device = find_model_folder(args.mtcnn_path), choose_device(args.gpu)
    thresholds = parse_thresholds(args.threshold)
    aligners: SimpleQueue[FaceAligner] = SimpleQueue()
    for _ in range(count):
        networks = load_networks(folder, device=device)
        detector = MtcnnDetector(networks, minsize=args.minsize, threshold=thresholds, factor=args.factor)
        forced = MtcnnDetector(networks, threshold=_FORCED_THRESHOLDS) if args.force else None
        aligners.put(FaceAligner(detector, forced, args.image_size))
    return aligners


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read `p,r,o`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise ConfigError(f"--threshold {text}: give three numbers, as 0.6,0.7,0.9")
    return values


def progress_text(outcomes: Counter[Outcome]) -> str:
    """2019's line, with its five counters."""
    numbers = [outcomes[outcome] for outcome in (Outcome.FOUND, Outcome.MISSED, Outcome.FORCED)]
    return f"Processing {sum(outcomes.values())}, ({np.array([*numbers, 0, 0])})"
