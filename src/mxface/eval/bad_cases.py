"""The pairs a model judges wrongly, as pictures (2019's `--mode 1`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mxface.eval.protocol import PairSet
from mxface.eval.roc import Booleans, Evaluation, Floats, Integers
from mxface.formats.atomic import atomic_write

COLUMNS = 4
GAP = 10  # white, between columns
FOOTER = 20  # white, under the last row
MAX_ROWS = 8000
GREEN_BGR = (153, 255, 51)


class JudgedPair(NamedTuple):
    """A pair by its number, its squared distance and its fold's threshold."""

    pair: int
    distance: float
    threshold: float


def find_bad_cases(evaluation: Evaluation, issame: Booleans) -> tuple[list[JudgedPair], list[JudgedPair]]:
    """False negatives, the farthest first, and false positives, the nearest first.

    Strict on both sides, as in 2019: a pair exactly at its threshold stands in neither list.
    """
    distances, thresholds = evaluation.distances, evaluation.pair_thresholds()
    negatives = np.flatnonzero(issame & (distances > thresholds))
    positives = np.flatnonzero(~issame & (distances < thresholds))
    return _judged(evaluation, negatives, -distances), _judged(evaluation, positives, distances)


def find_hardest(evaluation: Evaluation, issame: Booleans, count: int) -> tuple[list[JudgedPair], list[JudgedPair]]:
    """Same pairs and different pairs, those farthest on the wrong side of their threshold (or nearest to it) first."""
    margins = evaluation.distances - evaluation.pair_thresholds()
    same, different = np.flatnonzero(issame), np.flatnonzero(~issame)
    return _judged(evaluation, same, -margins)[:count], _judged(evaluation, different, margins)[:count]


def _judged(evaluation: Evaluation, pairs: Integers, order: Floats) -> list[JudgedPair]:
    """The pairs in ascending `order` (P,)."""
    pairs = pairs[np.argsort(order[pairs], kind="stable")]
    columns = (pairs, evaluation.distances[pairs], evaluation.pair_thresholds()[pairs])
    return [JudgedPair(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def write_bad_cases(folder: Path, name: str, pairs: PairSet, evaluation: Evaluation) -> list[Path]:
    """Write one picture per kind of error that occurs; returns what was written."""
    negatives, positives = find_bad_cases(evaluation, pairs.issame)
    written = []
    for kind, cases in (("positive(false_negative)", negatives), ("negative(false_positive)", positives)):
        if cases:
            threshold = positives[0].threshold if positives else negatives[-1].threshold
            path = folder / f"{name}_{kind}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(cv2.imencode(".png", draw_sheet(pairs, cases, threshold))[1].tobytes())
            written.append(path)
    return written


def draw_sheet(pairs: PairSet, cases: Sequence[JudgedPair], threshold: float) -> NDArray[np.uint8]:
    """A BGR sheet of pairs, four in a row, each with its distance, and the threshold below."""
    height, width = pairs.images.shape[1:3]
    rows = min(MAX_ROWS, -(-len(cases) // COLUMNS))
    step = 2 * width + GAP
    sheet = np.full((rows * height + FOOTER, COLUMNS * step - GAP, 3), 255, np.uint8)
    for place, case in enumerate(cases[: rows * COLUMNS]):
        row, column = divmod(place, COLUMNS)
        cell = sheet[row * height : (row + 1) * height, column * step : column * step + 2 * width]
        cell[:] = np.hstack(pairs.pair(case.pair))[:, :, ::-1]
        _write(sheet, f"{case.distance:.3f}", (column * step + width - 32, row * height + height // 2 + 7))
    _write(sheet, f"threshold: {threshold:.3f}", (sheet.shape[1] // 2 - 70, sheet.shape[0] - 5))
    return sheet


def _write(sheet: NDArray[np.uint8], text: str, bottom_left: tuple[int, int]) -> None:
    cv2.putText(sheet, text, bottom_left, cv2.FONT_HERSHEY_SIMPLEX, 0.6, GREEN_BGR, 2)
