"""What verification.py needs, made in a moment: two sets of pairs and three epochs of a model."""

from __future__ import annotations

from pathlib import Path

from tests.support.faces import encoded_pairs
from tests.support.tiny_model import save_tiny_model

from mxface.formats.dataset_property import DatasetProperty, write_property
from mxface.formats.evalset import write_evalset

PAIRS = 40
MODEL = "model-tiny"  # epochs 1, 2 and 3


def make_verification_data(folder: Path) -> Path:
    """Write `property`, easy.bin, hard.bin and the models into `folder`."""
    write_property(folder, DatasetProperty(100, 112, 112))
    write_evalset(folder / "easy.bin", *encoded_pairs(PAIRS))
    write_evalset(folder / "hard.bin", *encoded_pairs(PAIRS, noise=150))
    for epoch in (1, 2, 3):
        save_tiny_model(folder / MODEL, epoch, seed=epoch)
    return folder
