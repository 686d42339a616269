"""MTCNN on one core: our cascade on our networks, and the same cascade on MXNet's and ONNX Runtime's.

    .venv/bin/python bench/bench_mtcnn.py --model-folder models/mtcnn --image group.jpg

The image (default: t1.jpg of the assets, six faces, halved to 640x443) is searched from 20 pixels on, with landmarks
where the folder has det4.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from harness import REPOSITORY, Side, compare, mxnet_python, print_table, serve

ENGINES = {"mxnet": "mxnet", "onnxruntime": "onnxruntime", "mxface": "torch"}
ASSETS = Path(os.environ.get("MXFACE_ASSETS", REPOSITORY.parent / "shared" / "assets"))


def detection_of(side: str, folder: Path, image: Path) -> Callable[[], int]:
    """A block of work: one image."""
    from mxface.align.images import read_image
    from mxface.detect.mtcnn import MtcnnDetector
    from mxface.detect.mtcnn_networks import Networks
    from mxface.formats.checkpoint import symbol_path
    from mxface.runtime import load_predictor

    def network(name: str) -> Callable[..., list]:
        return load_predictor(folder / name, 1, engine=ENGINES[side], device="cpu").predict

    lnet = network("det4") if symbol_path(folder / "det4").is_file() else None
    networks = Networks(pnet=network("det1"), rnet=network("det2"), onet=network("det3"), lnet=lnet)
    detector = MtcnnDetector(networks, accurate_landmark=True)
    img = cv2.resize(read_image(image), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)

    def work() -> int:
        detector.detect_face(img)
        return 1

    return work


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-folder", type=Path, default=ASSETS / "mtcnn", help="det1 … det3, det4")
    parser.add_argument("--image", type=Path, default=ASSETS / "images" / "t1.jpg")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", choices=ENGINES, help="(internal) be one of the sides")
    args = parser.parse_args()
    if not (args.model_folder.is_dir() and args.image.is_file()):
        print(f"nothing to measure: {args.model_folder} and {args.image} are needed", file=sys.stderr)
        return 0
    if args.side:
        return serve(detection_of(args.side, args.model_folder, args.image))
    arguments = ["--model-folder", str(args.model_folder), "--image", str(args.image)]
    pythons = {name: mxnet_python() if name == "mxnet" else sys.executable for name in ENGINES}
    sides = [Side(name, python, __file__, arguments) for name, python in pythons.items()]
    blocks = compare(sides, rounds=args.rounds)
    print_table(blocks, baseline="mxnet", unit="images", title="\nMTCNN, one image, one thread")
    return 0


if __name__ == "__main__":
    sys.exit(main())
