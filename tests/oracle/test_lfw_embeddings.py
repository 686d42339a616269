"""y1 on aligned LFW photographs: our embeddings against those of real MXNet, run side by side."""

from __future__ import annotations

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mxface.runtime import load_predictor, make_embedder

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TOLERANCE = 1e-4
BATCH = 32


def paired_photographs(assets: Path, limit: int | None = None) -> NDArray[np.uint8]:
    """The images of the 6,000 pairs, each once (7,701), or the first of them: (N, 112, 112, 3) RGB."""
    lines = (assets / "lfw/pairs_label.txt").read_text().splitlines()
    wanted = list(dict.fromkeys(path for line in lines for path in line.split("\t")[:2]))[:limit]
    places = set(wanted)
    encoded = {}
    with tarfile.open(assets / "lfw/lfw-112x112.tar.gz") as archive:
        for member in archive:
            name = "/".join(Path(member.name).parts[-2:])
            if name in places:
                encoded[name] = np.frombuffer(archive.extractfile(member).read(), np.uint8)
    return np.stack([cv2.imdecode(encoded[name], cv2.IMREAD_COLOR)[..., ::-1] for name in wanted])


def largest_difference(assets: Path, images: NDArray[np.uint8]) -> float:
    """Over all images and dimensions, in batches."""
    prefix = assets / "mobilefacenet-y1/model"
    embedders = [make_embedder(load_predictor(prefix, 0, engine=engine, device="cpu")) for engine in ("torch", "mxnet")]
    largest = 0.0
    for start in range(0, len(images), BATCH):
        ours, theirs = (embed(images[start : start + BATCH]) for embed in embedders)
        largest = max(largest, float(np.abs(ours - theirs).max()))
    return largest


def test_some(assets: Path) -> None:
    assert largest_difference(assets, paired_photographs(assets, limit=2 * BATCH)) < TOLERANCE


@pytest.mark.slow
def test_all_of_the_pairs(assets: Path) -> None:
    images = paired_photographs(assets)
    assert len(images) == 7701
    assert largest_difference(assets, images) < TOLERANCE
