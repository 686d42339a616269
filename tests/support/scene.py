"""A photograph, and networks small enough to describe it in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tests.support.faces import photograph
from tests.support.mtcnn_files import save_constant_mtcnn
from tests.support.tiny_model import save_tiny_model

HEIGHT, WIDTH = 90, 70


@dataclass(frozen=True)
class Scene:
    """Files: two photographs of size HEIGHT, WIDTH; MTCNN that takes a whole image for a face; two networks."""

    first: Path
    second: Path
    mtcnn: Path
    model: str
    ga_model: str

    def image(self) -> np.ndarray:
        return cv2.imread(str(self.first))


def make_scene(root: Path) -> Scene:
    """Write the files under `root`."""
    for name, person in (("first.png", 1), ("second.png", 2)):
        cv2.imwrite(str(root / name), photograph(person, size=(HEIGHT, WIDTH)))
    return Scene(
        first=root / "first.png",
        second=root / "second.png",
        mtcnn=save_constant_mtcnn(root / "mtcnn"),
        model=save_tiny_model(root / "model", 3) + ",3",
        ga_model=save_tiny_model(root / "ga", 0, emb_size=202) + ",0",
    )
