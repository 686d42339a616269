"""`face2rec2.py`: pack listed faces into `.rec` and `.idx`, aligning those that are not aligned yet."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mxface.align.geometry import preprocess
from mxface.cli import HelpFormatter, command, setup_logging
from mxface.data.face_records import FaceRecords, face_record_writer
from mxface.errors import ConfigError, DataError
from mxface.formats.dataset_property import FILE_NAME as PROPERTY
from mxface.formats.dataset_property import DatasetProperty, read_property, write_property
from mxface.formats.lst import ListItem, read_list
from mxface.loaders.decode import decode_image
from mxface.loaders.ordered_map import ordered_map

logger = logging.getLogger(__name__)

LINES_PER_REPORT = 1000
ITEMS_AHEAD_PER_THREAD = 16
MAX_PNG_COMPRESSION = 9
UNUSED_FLAGS = ("exts", "chunks", "train-ratio", "test-ratio", "recursive", "shuffle", "pack-label")

DESCRIPTION = """\
Pack every list PREFIX*.lst into a .rec and a .idx beside it, in the face layout that training reads.

  python src/data/dir2lst.py datasets/aligned > datasets/faces/train.lst
  python src/data/face2rec2.py datasets/faces --image-size 112,112 --num-thread 4

A list's lines are aligned(0|1)<TAB>path<TAB>label[<TAB>box<TAB>landmarks]; all lines of a label must stand together.
Files of aligned images are copied as they are; the others are warped by their landmarks. Relative paths start in the
current folder or, where no such file is there, in the list's. Lines without a usable image are reported and left out.

The folder's `property` (one line num_classes,height,width) gives the size of the images; --image-size has it written.
"""


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How unaligned images are read and written; `folder` is that of the list."""

    folder: Path
    image_size: str
    quality: int
    color: int
    encoding: str

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"--quality {self.quality}: must be 1 to 100")

    @property
    def encoder_flags(self) -> tuple[int, int]:
        """OpenCV's: the quality of a JPEG; the effort of a PNG, 9 at most."""
        if self.encoding == ".jpg":
            return cv2.IMWRITE_JPEG_QUALITY, self.quality
        return cv2.IMWRITE_PNG_COMPRESSION, min(self.quality, MAX_PNG_COMPRESSION)


@dataclass(frozen=True)
class PackedImage:
    """A list item and its encoded image, or the reason why there is none."""

    item: ListItem
    image: bytes = b""
    problem: str = ""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Pack each list; afterwards hold the labels against `property`."""
    args = parse_arguments(argv)
    setup_logging()
    prefix = args.prefix.absolute()
    folder = prefix if prefix.is_dir() else prefix.parent
    lists = [path for path in sorted(folder.glob("*.lst")) if path.is_file() and str(path).startswith(str(prefix))]
    if not lists:
        raise DataError(f"Did not find and list file with prefix {args.prefix}; make one with dir2lst.py")
    prop = find_property(folder, args.image_size)
    options = PackOptions(
        folder=folder,
        image_size=f"{prop.height},{prop.width}",
        quality=args.quality,
        color=args.color,
        encoding=args.encoding,
    )
    num_classes = 0
    for path in lists:
        print(f"Creating .rec file from {path} in {folder}")
        num_classes = max(num_classes, pack_list(path, options, args.num_thread))
    if prop.num_classes == 0:
        write_property(folder, prop._replace(num_classes=num_classes))
        print(f"{folder / PROPERTY}: {num_classes},{prop.height},{prop.width}")
    elif num_classes > prop.num_classes:
        logger.warning("the labels make %d classes, but %s says %d", num_classes, folder / PROPERTY, prop.num_classes)
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="face2rec2.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("prefix", metavar="PREFIX", type=Path, help="a folder, or the beginning of the lists' paths")
    parser.add_argument("--image-size", type=parse_size, metavar="H,W", help="write `property` with this size")
    parser.add_argument("--num-thread", type=int, default=1, help="threads that read, align and encode")
    parser.add_argument(
        "--quality", type=int, default=95, help="JPEG quality of aligned faces (PNG: effort, at most 9)"
    )
    parser.add_argument("--color", type=int, default=1, choices=[-1, 0, 1], help="read as is, as grey, as colour")
    parser.add_argument("--encoding", default=".jpg", choices=[".jpg", ".png"], help="format of aligned faces")
    parser.add_argument("--list", type=parse_switch, default=False, help="2019's; only false works: it made no list")
    unused = parser.add_argument_group("accepted and ignored", "MXNet's im2rec had these; 2019 did not use them either")
    for flag in UNUSED_FLAGS:
        unused.add_argument(f"--{flag}", nargs=1, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.list:
        raise ConfigError("--list: face2rec2 makes no lists; use dir2lst.py")
    if args.num_thread < 1:
        raise ConfigError(f"--num-thread {args.num_thread}: must be at least 1")
    for flag in UNUSED_FLAGS:
        if flag.replace("-", "_") in args:
            logger.warning("--%s has no effect here, as in 2019", flag)
    return args


def parse_size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split(","))
    return height, width


def parse_switch(text: str) -> bool:
    """A boolean flag's text; 2019 took every text for true."""
    switches = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in switches:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return switches[text.lower()]


def find_property(folder: Path, image_size: tuple[int, int] | None) -> DatasetProperty:
    """The folder's `property`; where there is none, one of `image_size` with 0 classes, to be counted and written."""
    path = folder / PROPERTY
    if not path.exists():
        if image_size is None:
            raise DataError(
                f"no {path}; write the line num_classes,height,width into it (as in 85742,112,112), or let it be "
                "written by --image-size 112,112"
            )
        return DatasetProperty(0, *image_size)
    prop = read_property(path)
    if image_size not in (None, (prop.height, prop.width)):
        raise ConfigError(f"--image-size {image_size}: {path} says {prop.height},{prop.width}; remove one of the two")
    return prop


def pack_list(path: Path, options: PackOptions, threads: int) -> int:
    """Write the records of one list; returns the number of classes that its labels make, the largest label + 1."""
    skipped = 0
    before = time.time()
    with face_record_writer(path.with_suffix(".rec")) as faces, logging_redirect_tqdm():
        images = ordered_map(
            partial(pack_item, options=options),
            tqdm(read_list(path), total=count_lines(path), unit="img", desc=path.name, disable=None),
            threads=threads,
            window=ITEMS_AHEAD_PER_THREAD * threads,
        )
        for count, packed in enumerate(images, start=1):
            if packed.problem:
                logger.warning("skipped %s: %s", packed.item.path, packed.problem)
                skipped += 1
            else:
                faces.append(packed.item.label, packed.image, aligned=packed.item.aligned)
            if count % LINES_PER_REPORT == 0:
                tqdm.write(f"time: {time.time() - before:.3f}  count: {count}")
                before = time.time()
    report(path, faces, skipped)
    return faces.max_label + 1


def report(path: Path, faces: FaceRecords, skipped: int) -> None:
    """Say what was packed, what was not, and whether the list was in order."""
    print(f"{path.with_suffix('.rec')}: {faces.num_images} images of {faces.num_identities} identities")
    if skipped:
        print(f"skipped {skipped} lines of {path.name} without a usable image")
    if faces.repeated_labels:
        logger.warning(
            "%d times a label of %s came back after others (first: %d); each time it became another identity. "
            "Sort the list by label.",
            len(faces.repeated_labels),
            path.name,
            faces.repeated_labels[0],
        )


def pack_item(item: ListItem, options: PackOptions) -> PackedImage:
    """Read, and align where needed, one image."""
    try:
        return PackedImage(item, encode_face(item, options))
    except (DataError, OSError, cv2.error) as error:
        return PackedImage(item, problem=str(error))


def encode_face(item: ListItem, options: PackOptions) -> bytes:
    """The bytes to store: an aligned file's own, after a look whether they decode, or a new encoding."""
    path = Path(item.path)
    if not path.exists():
        path = options.folder / item.path
    data = path.read_bytes()
    if item.aligned:
        decode_image(data)
        return data
    if item.landmark is None:
        raise DataError("the line says not aligned, and has no landmarks")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), options.color) if data else None
    if image is None:
        raise DataError(f"{len(data)} bytes that are no image OpenCV can read")
    face = preprocess(image, item.bbox, item.landmark, options.image_size)  # type: ignore[arg-type]
    return cv2.imencode(options.encoding, face, options.encoder_flags)[1].tobytes()


def count_lines(path: Path) -> int:
    """How many line ends a file has."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(partial(file.read, 1 << 20), b""))
