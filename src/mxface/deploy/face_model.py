"""`face_model.py`: the face in a photograph, aligned; its embedding; its gender and age. Also a module to import.

from face_model import FaceModel                       # in the folder deploy, as in 2019
model = FaceModel(args)                                # image_size, model, ga_model, gpu, det
aligned = model.get_input(cv2.imread("photo.jpg"))     # None where there is no face
feature = model.get_feature(aligned)                   # length 1
gender, age = model.get_ga(aligned)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mxface.align.geometry import parse_image_size
from mxface.align.images import read_image, write_image
from mxface.cli import HelpFormatter, command, setup_logging
from mxface.deploy.arguments import (
    DET_SEARCH_HELP,
    add_detector_arguments,
    add_image_arguments,
    image_paths,
    picture_targets,
)
from mxface.deploy.face import (
    CROPPED_THRESHOLDS,
    SEARCH_THRESHOLDS,
    Face,
    Image,
    decode_gender_age,
    embed,
    first_face,
    load_network,
    no_face,
    normalize,
)
from mxface.detect.mtcnn import MtcnnDetector
from mxface.detect.mtcnn_networks import find_model_folder
from mxface.errors import ConfigError
from mxface.outputs import require_folder
from mxface.runtime import Predictor, choose_device

DESCRIPTION = """\
Find the face in each photograph and write it aligned, 112x112, as a network of 2019 takes it.

  cd deploy && python face_model.py --image photo.jpg --output aligned
"""


class FaceModel:
    """Detects, aligns and describes the best face of an image.

    `args` has 2019's attributes: image_size, model, ga_model (both `prefix,epoch` or empty), gpu (-1 or None: see
    `choose_device`), det (0: search the image; 1: the image is a loosely cropped face), and may have mtcnn_path and
    engine, which computes `model` and `ga_model`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        parse_image_size(args.image_size)
        self.image_size: str = args.image_size
        self.det_type: int = args.det
        device, engine = choose_device(args.gpu), getattr(args, "engine", "torch")
        self.model = load_network(args.model, args.gpu, engine=engine) if args.model else None
        self.ga_model = None
        if args.ga_model:
            self.ga_model = load_network(args.ga_model, args.gpu, engine=engine, flag="--ga-model")
        self.detector = MtcnnDetector(
            find_model_folder(getattr(args, "mtcnn_path", None)),
            threshold=SEARCH_THRESHOLDS if self.det_type == 0 else CROPPED_THRESHOLDS,
            accurate_landmark=True,
            device=device,
        )

    def find_face(self, face_img: Image) -> Face | None:
        """The best face of a BGR image, with its box and landmarks."""
        return first_face(face_img, self.detector.detect_face(face_img, det_type=self.det_type), self.image_size)

    def get_input(self, face_img: Image) -> Image | None:
        """The best face of a BGR image, aligned, uint8 (3, H, W) in RGB; None where there is none."""
        face = self.find_face(face_img)
        return None if face is None else face.aligned.transpose(2, 0, 1)

    def get_feature(self, aligned: Image, *, flip: bool = False) -> NDArray[np.float32]:
        """The embedding (D,), of length 1, of what `get_input` gave; with `flip` the mirrored face's is added first."""
        return normalize(self.get_raw_feature(aligned, flip=flip))

    def get_raw_feature(self, aligned: Image, *, flip: bool = False) -> NDArray[np.float32]:
        """`get_feature` before it is scaled."""
        return embed(_loaded(self.model, "--model"), aligned.transpose(1, 2, 0), flip=flip)

    def get_ga(self, aligned: Image) -> tuple[int, int]:
        """Gender (1 is male) and age of what `get_input` gave."""
        return decode_gender_age(embed(_loaded(self.ga_model, "--ga-model"), aligned.transpose(1, 2, 0)))


def _loaded(network: Predictor | None, flag: str) -> Predictor:
    if network is None:
        raise ConfigError(f"no network was loaded: give {flag} PREFIX,EPOCH")
    return network


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the aligned faces."""
    parser = argparse.ArgumentParser(prog="face_model.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    add_image_arguments(parser)
    add_detector_arguments(parser, det=0, det_help=DET_SEARCH_HELP)
    parser.add_argument("--output", type=Path, default=Path("aligned"), help="folder for the aligned faces")
    args = parser.parse_args(argv)
    setup_logging()
    require_folder(args.output, "--output")
    args.model = args.ga_model = ""
    model = FaceModel(args)
    images = image_paths(args.image)
    targets = picture_targets(args.output, images)
    args.output.mkdir(parents=True, exist_ok=True)
    for path, target in zip(images, targets, strict=True):
        face = model.find_face(read_image(path))
        if face is None:
            raise no_face(path)
        write_image(target, face.aligned[:, :, ::-1])
        print(target)
    return 0
