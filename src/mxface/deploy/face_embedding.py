"""`face_embedding.py`: the embedding of a loosely cropped face. Also a module to import.

from face_embedding import FaceModel                   # in the folder deploy, as in 2019
model = FaceModel(args)                                # image_size, model, gpu, det, flip
feature = model.get_feature(cv2.imread("face.jpg"))    # length 1; None where there is no face
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mxface.align.geometry import parse_image_size
from mxface.align.images import read_image
from mxface.cli import HelpFormatter, command, setup_logging
from mxface.deploy.arguments import (
    add_detector_arguments,
    add_image_arguments,
    add_recognition_arguments,
    image_paths,
)
from mxface.deploy.face import CROPPED_THRESHOLDS, Image, embed, first_face, load_network, no_face, normalize
from mxface.detect.mtcnn import MtcnnDetector
from mxface.detect.mtcnn_networks import find_model_folder
from mxface.formats.atomic import atomic_write
from mxface.outputs import require_file
from mxface.runtime import choose_device

DESCRIPTION = """\
Embed photographs that show one loosely cropped face each; write the embeddings, each of length 1, as one .npy array.

  cd deploy && python face_embedding.py --model ../models/y1/model,0 --image a.jpg b.jpg --output embeddings.npy
"""

DET_CROPPED_HELP = "2: the face through R+O; less: through O alone"
DEFAULT_MODEL = "../models/model-r34-amf/model,0"


class FaceModel:
    """Aligns and embeds the face of an image that shows little else.

    `args` has 2019's attributes: image_size, model (`prefix,epoch`), gpu (-1 or None: see `choose_device`), det (2 or
    more: R+O, less: O alone), flip (1: add the mirrored face's embedding), and may have mtcnn_path and engine, which
    computes `model`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        parse_image_size(args.image_size)
        self.image_size: str = args.image_size
        self.det_type: int = args.det
        self.flip = bool(args.flip)
        device = choose_device(args.gpu)
        self.model = load_network(args.model, args.gpu, engine=getattr(args, "engine", "torch"))
        self.detector = MtcnnDetector(
            find_model_folder(getattr(args, "mtcnn_path", None)),
            threshold=CROPPED_THRESHOLDS,
            accurate_landmark=True,
            device=device,
        )

    def get_feature(self, face_img: Image) -> NDArray[np.float32] | None:
        """The embedding (D,), of length 1, of the face in a BGR image; None where there is none."""
        detection = self.detector.detect_face_limited(face_img, det_type=self.det_type)
        face = first_face(face_img, detection, self.image_size)
        return None if face is None else normalize(embed(self.model, face.aligned, flip=self.flip))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the embeddings."""
    parser = argparse.ArgumentParser(prog="face_embedding.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    add_image_arguments(parser)
    add_detector_arguments(parser, det=2, det_help=DET_CROPPED_HELP)
    add_recognition_arguments(parser, model=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=Path("embeddings.npy"), help="file to write")
    args = parser.parse_args(argv)
    setup_logging()
    require_file(args.output, "--output")
    model = FaceModel(args)
    features = []
    for path in image_paths(args.image):
        feature = model.get_feature(read_image(path))
        if feature is None:
            raise no_face(path)
        features.append(feature)
    with atomic_write(args.output) as file:
        np.save(file, np.stack(features))
    print(f"{args.output}: {len(features)} embeddings of {len(features[0])} values")
    return 0
