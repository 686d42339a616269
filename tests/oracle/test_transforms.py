"""Augmentations on MXNet's own draws give MXNet's pixels (oracle/runs/transforms)."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from mxface.loaders.augment import JITTER, JITTERS, color_jitter, mirror, recompress
from mxface.loaders.decode import decode_image

# Sums and products in another order; values go to 276.
ATOL = 1e-4


class Transforms:
    """The folder's pixels and draws by `kind/seed`."""

    def __init__(self, oracle: Path) -> None:
        folder = oracle / "runs" / "transforms"
        self.draws = json.loads((folder / "transforms.json").read_text())
        self.pixels = np.load(folder / "transforms.npz")
        self.image = decode_image((oracle / "runs" / "rec" / self.draws["file"]).read_bytes())

    def cases(self, kind: str) -> list[str]:
        """The keys of one kind; none would be a broken oracle."""
        cases = [key for key in self.pixels if re.fullmatch(rf"{kind}/seed\d+", key)]
        assert cases, f"no case of {kind}"
        return cases


@pytest.fixture(scope="module")
def transforms(oracle: Path) -> Transforms:
    return Transforms(oracle)


def test_decoding(transforms: Transforms) -> None:
    assert (transforms.image == transforms.pixels["src"]).all()


def test_mirror(transforms: Transforms) -> None:
    image = transforms.image.copy()
    mirror(image)
    assert (image == transforms.pixels["hflip"]).all()


@pytest.mark.parametrize("number", range(len(JITTERS)), ids=lambda number: JITTERS[number].__name__)
def test_single_jitters(transforms: Transforms, number: int) -> None:
    for case in transforms.cases(JITTERS[number].__name__):
        jittered = color_jitter(transforms.image, [transforms.draws[case]] * len(JITTERS), [number])
        np.testing.assert_allclose(jittered[::4, ::4], transforms.pixels[case], rtol=0, atol=ATOL, err_msg=case)


def test_colour_jitter(transforms: Transforms) -> None:
    """MXNet shuffles the three, then draws a factor for each as its turn comes."""
    for case in transforms.cases("colorjitter"):
        mxnet_random = random.Random(int(case.removeprefix("colorjitter/seed")))
        order = [0, 1, 2]
        mxnet_random.shuffle(order)
        factors = [0.0, 0.0, 0.0]
        for number in order:
            factors[number] = 1 + mxnet_random.uniform(-JITTER, JITTER)
        jittered = color_jitter(transforms.image, factors, order)
        assert jittered.dtype == np.float32
        np.testing.assert_allclose(jittered[::4, ::4], transforms.pixels[case], rtol=0, atol=ATOL, err_msg=case)


def test_jpeg_recompression(transforms: Transforms) -> None:
    for case in transforms.cases("jpeg"):
        quality = transforms.draws[case.replace("jpeg", "jpeg_q")]
        assert (recompress(transforms.image, quality) == transforms.pixels[case]).all(), case
