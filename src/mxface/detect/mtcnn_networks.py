"""The networks of MTCNN: found in a folder, loaded, run over many crops."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mxface.errors import DataError
from mxface.formats.checkpoint import params_path, symbol_path
from mxface.places import search_folders
from mxface.runtime import load_predictor

logger = logging.getLogger(__name__)

Batch = NDArray[np.float32]
# Takes (n, C, H, W), gives its outputs in the graph's order.
Network = Callable[[Batch], Sequence[NDArray[np.float32]]]

_EPOCH = 1
# Crops that go through a network at once: bounds the memory on images with thousands of candidates.
_BATCH = 1024
# Input values (a 1400x1000 level of the pyramid) below which a network runs in one thread. These networks are so small
# that on a 112x112 image two threads took 2 to 4 times as long as one, and far longer on a busy machine.
_WORTH_THREADS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Networks:
    """pnet: regression (n, 4, H, W), probability (n, 2, H, W) of maps; rnet: regression (n, 4), probability (n, 2);
    onet: landmarks (n, 10), regression, probability; lnet: five of (n, 2), or None."""

    pnet: Network
    rnet: Network
    onet: Network
    lnet: Network | None = None


def find_model_folder(named: str | Path | None = None) -> Path:
    """Return the folder of the MTCNN networks: the one that was named, or the first that holds det1.

    Looked through are `mtcnn-model` (2019's place, beside the deploy commands) and `models/mtcnn` (where
    `get_mtcnn.py` writes) in the working directory, the command's folder and the repository.
    """
    places = [folder / name for folder in search_folders() for name in ("mtcnn-model", "models/mtcnn")]
    candidates = [Path(named)] if named else places
    for folder in candidates:
        if symbol_path(folder / "det1").is_file():
            return folder
    raise DataError(
        f"no MTCNN networks (det1-symbol.json …) in {', '.join(map(str, candidates))}; "
        "get them with `python src/align/get_mtcnn.py`, or name their folder"
    )


def load_networks(folder: str | Path, *, with_landmarks: bool = False, device: str | None = None) -> Networks:
    """Load det1, det2, det3, and det4 `with_landmarks`, epoch 1 of each.

    det4 is in no package and often missing: then there is no lnet, and a warning says so.
    """
    pnet, rnet, onet = (_load(Path(folder) / name, device) for name in ("det1", "det2", "det3"))
    lnet = None
    if with_landmarks:
        if params_path(Path(folder) / "det4", _EPOCH).is_file():
            lnet = _load(Path(folder) / "det4", device)
        else:
            logger.warning("no det4 in %s: landmarks are det3's, a little less exact", folder)
    return Networks(pnet=pnet, rnet=rnet, onet=onet, lnet=lnet)


def _load(prefix: Path, device: str | None) -> Network:
    predictor = load_predictor(prefix, _EPOCH, device=device)

    def run(data: Batch) -> Sequence[NDArray[np.float32]]:
        with _one_thread() if data.size < _WORTH_THREADS else contextlib.nullcontext():
            return predictor.predict(data)

    return run


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch from splitting what is done sooner by one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_in_batches(network: Network, data: Batch) -> list[NDArray[np.float32]]:
    """Run `network` over the rows of `data`, at least one, a bounded number at once; join its outputs."""
    outputs = [network(data[start : start + _BATCH]) for start in range(0, len(data), _BATCH)]
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
