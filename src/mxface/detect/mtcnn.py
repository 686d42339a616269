"""MTCNN (Zhang et al. 2016) as 2019's `deploy/mtcnn_detector.py` runs it: four networks, coarse to fine.

    propose            PNet on an image pyramid: 12x12 windows that may hold a face
    refine             RNet on each, 24x24: fewer and better boxes
    locate             ONet on each, 48x48: the final boxes and five landmarks
    refine_landmarks   LNet (det4), five 24x24 patches a face: landmarks once more, where the file is there

Images are uint8 (H, W, 3) in BGR, the order these weights were trained with. Boxes are (n, 5): corners as in
`detect.boxes`, score; points are (n, 10): x of the five landmarks, then y. Best score first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from mxface.detect.boxes import Floats, Patches, calibrate, clip_to_image, generate_bbox, nms, round_to_square, sizes
from mxface.detect.crops import crop_patches, network_input
from mxface.detect.mtcnn_networks import Networks, load_networks, run_in_batches
from mxface.errors import ConfigError

Image = NDArray[np.uint8]
Detection = tuple[Floats, NDArray[Any]]


class MtcnnDetector:
    """Finds faces and their landmarks.

    `model` is a folder with det1 … det3 (and det4), or the networks themselves. `minsize` is the smallest face's side
    in pixels, `factor` the pyramid's step, `threshold` the least score of PNet, RNet and ONet. With
    `accurate_landmark` the points come from det4 as whole numbers (int32); without it, or where there is no det4,
    they are ONet's (float32).

    Raises ConfigError for settings that no pyramid can have.
    """

    def __init__(
        self,
        model: str | Path | Networks,
        *,
        minsize: int = 20,
        threshold: Sequence[float] = (0.6, 0.7, 0.8),
        factor: float = 0.709,
        accurate_landmark: bool = False,
        device: str | None = None,
    ) -> None:
        if minsize < 1 or not 0 < factor < 1 or len(threshold) != 3:
            raise ConfigError(
                f"minsize {minsize}, factor {factor}, threshold {tuple(threshold)}: "
                "must be 1 or more, between 0 and 1, and three scores"
            )
        if isinstance(model, Networks):
            self.networks = model
        else:
            self.networks = load_networks(model, with_landmarks=accurate_landmark, device=device)
        self.minsize = minsize
        self.threshold = tuple(threshold)
        self.factor = factor
        self.accurate_landmark = accurate_landmark and self.networks.lnet is not None

    def detect_face(self, img: Image | None, det_type: int = 0) -> Detection | None:
        """Return boxes and points, or None where there is no face or no colour image.

        `det_type` 0 searches the whole image; any other takes the image as one loosely cropped face and starts at RNet.
        """
        if not _is_colour_image(img):
            return None
        return self._finish(img, self.refine(img, self.propose(img) if det_type == 0 else whole_image(img)))

    def detect_face_limited(self, img: Image | None, det_type: int = 2) -> Detection | None:
        """Take the image as one cropped face: through RNet and ONet with `det_type` 2 or more, else ONet alone."""
        if not _is_colour_image(img):
            return None
        boxes = whole_image(img)
        return self._finish(img, self.refine(img, boxes) if det_type >= 2 else boxes)

    def _finish(self, img: Image, boxes: Floats) -> Detection | None:
        boxes, points = self.locate(img, boxes)
        if not len(boxes):
            return None
        return boxes, self.refine_landmarks(img, boxes, points) if self.accurate_landmark else points

    def propose(self, img: Image) -> Floats:
        """PNet over the pyramid: square boxes (n, 5) with whole-number corners, which may leave the image."""
        found = [self._propose_at(img, scale) for scale in self.pyramid(img.shape[0], img.shape[1])]
        boxes = np.concatenate(found) if found else np.zeros((0, 9))
        boxes = boxes[nms(boxes, 0.7)]
        return round_to_square(calibrate(boxes[:, :5], boxes[:, 5:9]))

    def pyramid(self, height: int, width: int) -> list[float]:
        """The scales at which a face of `minsize` pixels, then larger ones, fill PNet's 12 pixels."""
        scale = 12.0 / self.minsize
        shortest = min(height, width) * scale
        scales: list[float] = []
        while shortest > 12:
            scales.append(scale * self.factor ** len(scales))
            shortest *= self.factor
        return scales

    def _propose_at(self, img: Image, scale: float) -> Floats:
        height, width = (math.ceil(side * scale) for side in img.shape[:2])
        resized = np.asarray(cv2.resize(img, (width, height)))
        regression, probability = self.networks.pnet(network_input(resized[None]))
        boxes = generate_bbox(probability[0, 1], regression[0], scale, self.threshold[0])
        return boxes[nms(boxes, 0.5)]

    def refine(self, img: Image, boxes: Floats) -> Floats:
        """RNet: the boxes it takes for faces, calibrated, square, whole-number corners."""
        boxes, patches = _clip(boxes, img)
        if not len(boxes):
            return boxes
        # These crops are resized as uint8, the later ones as float32: the rounding differs, and results with it.
        crops = network_input(crop_patches(img, patches, 24, np.uint8))
        regression, probability = run_in_batches(self.networks.rnet, crops)
        passed = probability[:, 1] > self.threshold[1]
        boxes, regression = _with_score(boxes, probability)[passed], regression[passed]
        picked = nms(boxes, 0.7)
        return round_to_square(calibrate(boxes[picked], regression[picked]))

    def locate(self, img: Image, boxes: Floats) -> tuple[Floats, NDArray[np.float32]]:
        """ONet: the final boxes, calibrated and so perhaps beyond the image's edge again, and their landmarks."""
        boxes, patches = _clip(boxes, img)
        if not len(boxes):
            return boxes, np.zeros((0, 10), np.float32)
        crops = network_input(crop_patches(img, patches, 48, np.float32))
        landmark, regression, probability = run_in_batches(self.networks.onet, crops)
        passed = probability[:, 1] > self.threshold[2]
        boxes, regression, landmark = _with_score(boxes, probability)[passed], regression[passed], landmark[passed]
        width, height = sizes(boxes)
        # The landmarks lie in the clipped box, before it is calibrated.
        points = np.concatenate(
            [
                boxes[:, 0:1] + width[:, None] * landmark[:, 0:5],
                boxes[:, 1:2] + height[:, None] * landmark[:, 5:10],
            ],
            axis=1,
        ).astype(np.float32)
        boxes = calibrate(boxes, regression)
        picked = nms(boxes, 0.7, "min")
        return boxes[picked], points[picked]

    def refine_landmarks(self, img: Image, boxes: Floats, points: NDArray[np.floating]) -> NDArray[np.int32]:
        """LNet: each landmark again, within a patch of a quarter of the face; whole numbers, cut off towards 0."""
        assert self.networks.lnet is not None
        width, height = sizes(boxes)
        side = np.maximum(np.round(0.25 * np.maximum(width, height)), 2)
        side = (side + side % 2)[:, None]
        x = np.round(points[:, 0:5] - 0.5 * side)
        y = np.round(points[:, 5:10] - 0.5 * side)
        corners = np.stack([x, y, x + side - 1, y + side - 1], axis=2).reshape(-1, 4)
        crops = network_input(crop_patches(img, _clip(corners, img)[1], 24, np.float32))
        # Five patches of three channels, one after the other, are one input of 15; of the five outputs each is (n, 2).
        offset = np.stack(run_in_batches(self.networks.lnet, crops.reshape(-1, 15, 24, 24)), axis=1)
        # A landmark that leaves its patch's middle is not believed, in both coordinates.
        offset[(np.abs(offset - 0.5) > 0.35).any(axis=2)] = 0.5
        moved = [x + offset[:, :, 0] * side, y + offset[:, :, 1] * side]
        return np.concatenate(moved, axis=1).astype(np.int32)


def whole_image(img: Image) -> Floats:
    """The image as one box. It is a pixel too wide and too high, as 2019 had it: the crop gets a black edge."""
    return np.array([[0.0, 0.0, img.shape[1], img.shape[0], 0.9]])


def _is_colour_image(img: Image | None) -> TypeGuard[Image]:
    return img is not None and img.ndim == 3 and img.shape[2] == 3 and img.size > 0


def _clip(boxes: Floats, img: Image) -> tuple[Floats, Patches]:
    """Clip to the image; boxes that a network has turned inside out are dropped."""
    width, height = sizes(boxes)
    return clip_to_image(boxes[(width >= 1) & (height >= 1)], img.shape[1], img.shape[0])


def _with_score(boxes: Floats, probability: NDArray[np.float32]) -> Floats:
    return np.column_stack([boxes[:, :4], probability[:, 1]])
