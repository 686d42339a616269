"""A data set of people who do not exist and a config for it, small enough to train in seconds by the real command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.support import REPOSITORY
from tests.support.faces import encode, encoded_pairs, photograph
from tests.support.records import pack_people

from mxface.formats.dataset_property import DatasetProperty, write_property
from mxface.formats.evalset import write_evalset

PEOPLE, IMAGES_EACH = 4, 6
ENTRIES = """
network.tiny = edict()
network.tiny.net_name = "fmobilefacenet"
network.tiny.net_blocks = [1, 1, 1, 1]
network.tiny.emb_size = 32
network.tiny.net_output = "E"  # the head with dropout

dataset.tiny = edict()
dataset.tiny.dataset_path = "{folder}"
dataset.tiny.num_classes = {num_classes}
dataset.tiny.image_shape = (56, 56, 3)  # smaller than the records: they are scaled
dataset.tiny.val_targets = ["none", "tiny"]
dataset.tiny.per_batch_size = 8
dataset.tiny.frequent = 2
dataset.tiny.verbose = 4
dataset.tiny.max_steps = 7
dataset.tiny.lr = 0.02
"""


def write_tiny_set(folder: Path) -> Path:
    """`train.rec`, `.idx`, `property` and `tiny.bin` in a new folder."""
    folder.mkdir()
    people = [(person, number) for person in range(PEOPLE) for number in range(1, IMAGES_EACH + 1)]
    images = {key: encode(photograph(*who)) for key, who in enumerate(people, start=1)}
    pack_people(folder / "train.rec", [IMAGES_EACH] * PEOPLE, images)
    write_property(folder / "property", DatasetProperty(PEOPLE, 112, 112))
    files, issame = encoded_pairs(10)
    write_evalset(folder / "tiny.bin", files, np.array(issame))
    return folder


def write_tiny_config(path: Path, folder: Path, *, num_classes: int | None = PEOPLE, more: str = "") -> Path:
    """sample_config.py with entries `tiny` for the network and the data set, then the lines of `more`."""
    entries = ENTRIES.format(folder=folder, num_classes=num_classes) + more
    marker = "\n# defaults of the flags\n"
    sample = (REPOSITORY / "sample_config.py").read_text()
    assert marker in sample
    # generate_config reads `default`, which the sample fills last
    path.write_text(sample.replace("\ndef generate_config", f"{entries}\n\ndef generate_config"))
    return path
