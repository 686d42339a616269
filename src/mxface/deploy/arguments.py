"""The flags that the deploy commands share, with 2019's names and defaults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mxface.errors import ConfigError, DataError
from mxface.places import search_folders

# 2019's sample. It lies beside the commands in the original's deploy folder and is not ours to hand on.
SAMPLE_IMAGE = "Tom_Hanks_54745.png"
DET_SEARCH_HELP = "0: search the whole image; 1: take it as one loosely cropped face (R+O)"


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --image."""
    parser.add_argument(
        "--image",
        type=Path,
        nargs="+",
        action="extend",
        metavar="IMAGE",
        help=f"photographs (default: {SAMPLE_IMAGE}, here or beside the command)",
    )


def image_paths(named: Sequence[Path] | None) -> list[Path]:
    """The images that were named, or 2019's sample where the user has it."""
    if named:
        return list(named)
    for folder in search_folders():
        if (folder / SAMPLE_IMAGE).is_file():
            return [folder / SAMPLE_IMAGE]
    raise DataError(f"no {SAMPLE_IMAGE} here or beside the command; name a photograph with --image")


def picture_targets(folder: Path, images: Sequence[Path]) -> list[Path]:
    """`FOLDER/STEM.png` for each image. Raises ConfigError where that would overwrite an image, or one another."""
    targets = [folder / f"{path.stem}.png" for path in images]
    owner: dict[Path, Path | None] = {path.resolve(): None for path in images}
    for target, path in zip(targets, images, strict=True):
        if owner.setdefault(target.resolve(), path.resolve()) != path.resolve():
            raise ConfigError(f"{target} would be overwritten; choose another folder, or run images of one name apart")
    return targets


def add_detector_arguments(parser: argparse.ArgumentParser, *, det: int, det_help: str) -> None:
    """Add the flags of finding and aligning a face."""
    parser.add_argument("--image-size", default="112,112", help="height,width of the aligned face: 112,112 or 112,96")
    parser.add_argument("--gpu", type=int, help="index of the GPU; -1: the CPU (default: the first GPU, else the CPU)")
    parser.add_argument("--det", type=int, default=det, help=det_help)
    parser.add_argument("--mtcnn-path", type=Path, help="folder of det1 … det4 (default: mtcnn-model, models/mtcnn)")


def add_recognition_arguments(parser: argparse.ArgumentParser, *, model: str) -> None:
    """Add the flags of describing and comparing faces."""
    parser.add_argument("--model", default=model, help="recognition network, PREFIX,EPOCH")
    parser.add_argument(
        "--engine", default="torch", help="what computes it: torch, mxnet or onnxruntime (MTCNN runs on torch)"
    )
    parser.add_argument("--flip", type=int, default=0, help="1: add the mirrored face's embedding")
    parser.add_argument("--threshold", type=float, default=1.24, help="squared distance below which two are one person")
