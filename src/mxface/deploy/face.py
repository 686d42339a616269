"""What the two face models of `deploy` share: the face they take, and the networks they describe it with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mxface.align.geometry import preprocess
from mxface.detect.mtcnn import Detection
from mxface.errors import DataError, GraphError
from mxface.eval.roc import normalise_rows
from mxface.formats.checkpoint import one_epoch
from mxface.runtime import Predictor, choose_device, load_predictor

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
OUTPUT = "fc1_output"
# Scores that PNet, RNet and ONet must pass: in photographs, and in images known to be a loosely cropped face.
SEARCH_THRESHOLDS = (0.6, 0.7, 0.8)
CROPPED_THRESHOLDS = (0.0, 0.0, 0.2)


@dataclass(frozen=True, kw_only=True)
class Face:
    """box (5,): corners and score; points (5, 2) as x, y; aligned (H, W, 3) in RGB; count: faces found beside it."""

    box: NDArray[np.float64]
    points: NDArray[np.float64]
    aligned: Image
    count: int


def first_face(img: Image, detection: Detection | None, image_size: str) -> Face | None:
    """Align the face of the highest score, which is the one that 2019's deploy code takes. `img` is BGR."""
    if detection is None:
        return None
    boxes, points = detection
    landmark = points[0].reshape(2, 5).T.astype(np.float64)
    aligned = preprocess(img, boxes[0], landmark, image_size)
    return Face(box=boxes[0], points=landmark, aligned=aligned[:, :, ::-1], count=len(boxes))


def no_face(path: Path) -> DataError:
    """The error for a photograph without a face."""
    return DataError(f"{path}: no face found; if it is a photograph of nothing but a face, try --det 1")


def load_network(model: str, gpu: int | None, *, engine: str = "torch", flag: str = "--model") -> Predictor:
    """Load `prefix,epoch`, the value of `flag`, up to its embedding layer; `gpu` as `choose_device` takes it."""
    prefix, epoch = one_epoch(flag, model)
    logger.info("loading %s %d", prefix, epoch)
    device = choose_device(gpu, engine=engine)
    return load_predictor(prefix, epoch, outputs=[OUTPUT], engine=engine, device=device)


def embed(network: Predictor, aligned: Image, *, flip: bool = False) -> NDArray[np.float32]:
    """Return the raw embedding (D,) of an aligned RGB face; with `flip` the mirrored face's is added."""
    faces = np.stack([aligned, aligned[:, ::-1]] if flip else [aligned])
    return np.asarray(network.predict(faces.transpose(0, 3, 1, 2))[0].sum(axis=0), np.float32)


def normalize(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale an embedding (D,) to length 1."""
    return np.asarray(normalise_rows(embedding[np.newaxis])[0], np.float32)


def decode_gender_age(output: NDArray[np.float32]) -> tuple[int, int]:
    """Read the gender-age network's 202 numbers: two for the gender (1 is male), then a yes or no for each year."""
    if output.shape != (202,):
        raise GraphError(f"a gender-age network gives 202 numbers, this one {output.size}; see --ga-model")
    years = output[2:].reshape(100, 2)
    return int(np.argmax(output[:2])), int(np.argmax(years, axis=1).sum())
