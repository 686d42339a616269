"""`test.py`: what the networks say about a photograph, and whether two show the same person."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mxface.align.images import Image, read_image, write_image
from mxface.cli import HelpFormatter, command, setup_logging
from mxface.deploy.arguments import (
    DET_SEARCH_HELP,
    add_detector_arguments,
    add_image_arguments,
    add_recognition_arguments,
    image_paths,
    picture_targets,
)
from mxface.deploy.face import Face, no_face, normalize
from mxface.deploy.face_model import FaceModel
from mxface.errors import ConfigError
from mxface.formats.atomic import atomic_write
from mxface.outputs import require_file, require_folder

DESCRIPTION = """\
Find the face in each photograph. Say its gender (1 is male) and its age when --ga-model is given, a line each; then
where it is; its embedding when --model is given, and from the second photograph on whether it shows the same person as
the first.

  cd deploy && python test.py --image a.jpg b.jpg --model ../models/y1/model,0
"""

_GREEN = (0, 255, 0)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Describe each photograph, compare them with the first."""
    args = parse_arguments(argv)
    setup_logging()
    if args.output and not args.model:
        raise ConfigError("--output takes embeddings: give --model PREFIX,EPOCH too")
    if args.output:
        require_file(args.output, "--output")
    if args.draw:
        require_folder(args.draw, "--draw")
    images = image_paths(args.image)
    drawings = picture_targets(args.draw, images) if args.draw else None
    model = FaceModel(args)
    features: list[NDArray[np.float32]] = []
    for number, path in enumerate(images):
        img = read_image(path)
        face = model.find_face(img)
        if face is None:
            raise no_face(path)
        aligned = face.aligned.transpose(2, 0, 1)
        if args.ga_model:
            print(*model.get_ga(aligned), sep="\n")
        print(face_text(path, face))
        if drawings:
            write_drawing(drawings[number], img, face)
        if args.model:
            raw = model.get_raw_feature(aligned, flip=bool(args.flip))
            print(embedding_text(raw))
            features.append(normalize(raw))
            if len(features) > 1:
                print(comparison_text(features[0], features[-1], args.threshold))
    if args.output:
        with atomic_write(args.output) as file:
            np.save(file, np.stack(features))
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="test.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    add_image_arguments(parser)
    add_detector_arguments(parser, det=0, det_help=DET_SEARCH_HELP)
    add_recognition_arguments(parser, model="")
    parser.add_argument("--ga-model", default="", help="gender and age network, PREFIX,EPOCH")
    parser.add_argument("--output", type=Path, help="write the embeddings here: .npy, (images, D), each of length 1")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write each photograph with its face marked here")
    return parser.parse_args(argv)


def face_text(path: Path, face: Face) -> str:
    """Where the face is, in pixels."""
    others = f" (of {face.count} found)" if face.count > 1 else ""
    box = "x {:.1f} to {:.1f}, y {:.1f} to {:.1f}".format(*face.box[[0, 2, 1, 3]])
    names = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
    points = ", ".join(f"{name} {x:.0f},{y:.0f}" for name, (x, y) in zip(names, face.points, strict=True))
    return f"{path.name}: face{others} of score {face.box[4]:.4f} in {box}\n  {points}"


def embedding_text(raw: NDArray[np.float32]) -> str:
    """The embedding's size, its length before it is scaled to 1, and the first scaled values."""
    values = " ".join(f"{value:.4f}" for value in normalize(raw)[:8])
    return f"  embedding of {len(raw)} values, norm {np.linalg.norm(raw):.3f}: {values} …"


def comparison_text(first: NDArray[np.float32], other: NDArray[np.float32], threshold: float) -> str:
    """The squared distance of two embeddings of length 1, their cosine, and the verdict."""
    distance = float(np.square(first - other).sum())
    verdict = "the same person" if distance < threshold else "different people"
    return f"  with the first: squared distance {distance:.4f}, similarity {float(first @ other):.4f}: {verdict}"


def write_drawing(path: Path, img: Image, face: Face) -> None:
    """Write the photograph with box and landmarks."""
    drawing = img.copy()
    thickness = max(1, round(min(img.shape[:2]) / 300))
    corners = np.round(face.box[:4]).astype(int).tolist()
    cv2.rectangle(drawing, corners[:2], corners[2:], _GREEN, thickness)
    for point in np.round(face.points).astype(int).tolist():
        cv2.circle(drawing, point, thickness, _GREEN, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, drawing)
