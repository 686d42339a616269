"""Boxes as MTCNN counts them, and suppression of overlapping ones.

A box is a row x1, y1, x2, y2[, score, …] whose corners are pixels INSIDE it: its width is x2 - x1 + 1. Every function
here counts so (the detectors' networks were trained with that one), while `align.geometry` measures corner to corner.
Nothing is changed in place. Legend: n boxes, columns as above, float64 unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# A unit of the proposal network sees 12 pixels and they stand 2 pixels apart.
_PNET_STRIDE, _PNET_CELL = 2, 12


def sizes(boxes: Floats) -> tuple[Floats, Floats]:
    """Widths and heights, each (n,)."""
    return boxes[:, 2] - boxes[:, 0] + 1, boxes[:, 3] - boxes[:, 1] + 1


def nms(boxes: Floats, threshold: float, mode: Literal["union", "min"] = "union") -> NDArray[np.intp]:
    """Return the rows to keep, best score first: each drops later rows that overlap it by more than `threshold`.

    The overlap is the intersection over the union, or (`min`) over the smaller of the two. Of equal scores the later
    row goes first, as in 2019, where a sort's last element was taken.
    """
    order = np.argsort(boxes[:, 4], kind="stable")[::-1]
    x1, y1, x2, y2 = boxes[order, :4].T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    alive = np.arange(len(order))
    keep = []
    while alive.size:
        best, alive = alive[0], alive[1:]
        keep.append(best)
        width = np.minimum(x2[alive], x2[best]) - np.maximum(x1[alive], x1[best]) + 1
        height = np.minimum(y2[alive], y2[best]) - np.maximum(y1[alive], y1[best]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        if mode == "union":
            whole = area[alive] + area[best] - shared
        else:
            whole = np.minimum(area[alive], area[best])
        # Multiplied out would round otherwise at the threshold itself; areas of degenerate boxes may be 0.
        with np.errstate(divide="ignore", invalid="ignore"):
            alive = alive[~(shared / whole > threshold)]
    return order[keep]


def generate_bbox(
    probability: NDArray[np.float32], regression: NDArray[np.float32], scale: float, threshold: float
) -> Floats:
    """Turn the proposal network's map (H, W) into boxes of the unscaled image, where it is above `threshold`.

    `regression` is (4, H, W). Returns (n, 9): box, score, the four regressions; rounded half to even.
    """
    row, column = np.nonzero(probability > threshold)
    corner = _PNET_STRIDE * np.stack([column, row], axis=1) + 1
    found: Floats = np.column_stack(
        [
            np.round(corner / scale),
            np.round((corner + _PNET_CELL) / scale),
            probability[row, column],
            regression[:, row, column].T,
        ]
    ).astype(np.float64)
    return found


def calibrate(boxes: Floats, regression: NDArray[np.floating]) -> Floats:
    """Move each corner by its regression (n, 4), given in widths and heights of the box. Further columns stay."""
    width, height = sizes(boxes)
    moved: Floats = boxes.copy()
    moved[:, :4] += np.stack([width, height, width, height], axis=1) * regression
    return moved


def round_to_square(boxes: Floats) -> Floats:
    """Grow the shorter side about the centre, then round the corners half to even. Further columns stay.

    Rounding may leave the sides one pixel apart.
    """
    width, height = sizes(boxes)
    side = np.maximum(width, height)
    square: Floats = boxes.copy()
    square[:, 0] = boxes[:, 0] + width * 0.5 - side * 0.5
    square[:, 1] = boxes[:, 1] + height * 0.5 - side * 0.5
    square[:, 2] = square[:, 0] + side - 1
    square[:, 3] = square[:, 1] + side - 1
    square[:, :4] = np.round(square[:, :4])
    return square


@dataclass(frozen=True)
class Patches:
    """Where to cut boxes out of an image, and where the cut lies in a black canvas of the box's own size.

    clipped: (n, 4) corners inside the image, inclusive; size: (n, 2) width, height of the whole box;
    offset: (n, 2) where the clipped part begins in it.
    """

    clipped: Ints
    size: Ints
    offset: Ints


def clip_to_image(boxes: Floats, width: int, height: int) -> tuple[Floats, Patches]:
    """Clip boxes with whole-number corners to an image; a box wholly outside gets x2 < x1 or y2 < y1.

    Returns the clipped boxes (further columns stay) and how to cut the unclipped ones out. 2019's `pad` clipped its
    caller's boxes in place, so that every later step starts from clipped boxes: use the first result for those.
    """
    corners = boxes[:, :4].astype(np.int64)
    inside = corners.copy()
    np.maximum(inside[:, :2], 0, out=inside[:, :2])
    np.minimum(inside[:, 2:], (width - 1, height - 1), out=inside[:, 2:])
    clipped = boxes.copy()
    clipped[:, :4] = inside
    return clipped, Patches(inside, corners[:, 2:] - corners[:, :2] + 1, inside[:, :2] - corners[:, :2])
