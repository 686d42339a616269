"""Batches of a `.rec` of LFW against 2019's loop over mx.recordio and mx.image, plain and with colour jitter, by thread
and by process; parsing a large index.

    .venv/bin/python bench/bench_data.py

Packs the aligned LFW images of $MXFACE_ASSETS (13,233 JPEGs of 112x112) into a temporary folder, with the product's own
commands, and lets the sides take turns. *decode* is the floor: nothing but libjpeg-turbo on bytes in memory.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness import REPOSITORY, Side, compare, mxnet_python, print_table, serve

ASSETS = Path(os.environ.get("MXFACE_ASSETS", REPOSITORY.parent / "shared" / "assets"))
BATCH = 128
BATCHES_PER_BLOCK = 20
INDEX_LINES = 5_822_653  # as many images as faces_emore has


def serve_loader(rec: Path, *, color: int = 0, workers: int = 0) -> int:
    """The product: shuffled, mirrored batches by one thread, or by one process of its own."""
    from mxface.loaders import RecordDataset, TrainLoader

    loader = TrainLoader(RecordDataset(rec), batch_size=BATCH, threads=1, workers=workers, color=color)
    batches = endless(loader.epoch)
    next(batches)

    def cpu_s() -> float:
        """Of this process and its worker, whose single thread's nanoseconds are in /proc."""
        pids = loader._pool.pids if loader._pool else []
        of_workers = sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)
        return time.process_time() + of_workers / 1e9

    return serve(lambda: sum(len(batch.data) for batch in islice(batches, BATCHES_PER_BLOCK)), warm_up=1, cpu_s=cpu_s)


def decode_only(rec: Path) -> Callable[[], int]:
    """The floor: the same images, decoded and thrown away."""
    import simplejpeg

    from mxface.loaders import RecordDataset

    dataset = RecordDataset(rec)
    encoded = [bytes(dataset.read_encoded(number)) for number in range(BATCH * BATCHES_PER_BLOCK)]

    def work() -> int:
        for data in encoded:
            simplejpeg.decode_jpeg(data, "RGB")
        return len(encoded)

    return work


def loop_of_2019(rec: Path, *, color: int = 0) -> Callable[[], int]:
    """The per-image loop of 2019's iterator: read_idx, unpack, imdecode, mirror, colour jitter, float, transpose."""
    import mxnet as mx

    jitter = mx.image.ColorJitterAug(0.125, 0.125, 0.125)

    records = mx.recordio.MXIndexedRecordIO(str(rec.with_suffix(".idx")), str(rec), "r")
    header, _ = mx.recordio.unpack(records.read_idx(0))
    keys = list(range(1, int(header.label[0])))

    def epoch(_number: int) -> Iterator[int]:
        random.shuffle(keys)
        for start in range(0, len(keys) - BATCH + 1, BATCH):
            data, label = mx.nd.empty((BATCH, 3, 112, 112)), mx.nd.empty((BATCH,))
            for row, key in enumerate(keys[start : start + BATCH]):
                header, encoded = mx.recordio.unpack(records.read_idx(key))
                image = mx.image.imdecode(encoded)
                if random.random() < 0.5:
                    image = mx.nd.flip(image, axis=1)
                if color:
                    image = jitter(image.astype("float32"))
                data[row][:] = mx.nd.transpose(image.astype("float32"), axes=(2, 0, 1))
                label[row][:] = header.label[0]
            data.wait_to_read()
            yield BATCH

    batches = endless(epoch)
    return lambda: sum(islice(batches, BATCHES_PER_BLOCK))


def our_index(index: Path) -> Callable[[], int]:
    """The product reads the index of 5.8 million records."""
    from mxface.formats.recordio import read_index

    return lambda: len(read_index(index)[0])


def index_of_2019(index: Path) -> Callable[[], int]:
    """mx.recordio opens the same index; the record file is not looked at."""
    import mxnet as mx

    def work() -> int:
        records = mx.recordio.MXIndexedRecordIO(str(index), os.devnull, "r")
        count = len(records.keys)
        records.close()
        return count

    return work


def endless(epoch: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    number = 0
    while True:
        yield from epoch(number)
        number += 1


SIDES: dict[str, Callable[[Path], int]] = {
    "mxface": serve_loader,
    "mxface-process": partial(serve_loader, workers=1),
    "decode": lambda rec: serve(decode_only(rec), warm_up=1),
    "loop-of-2019": lambda rec: serve(loop_of_2019(rec), warm_up=1),
    "mxface-color": partial(serve_loader, color=1),
    "mxface-color-process": partial(serve_loader, color=1, workers=1),
    "loop-of-2019-color": lambda rec: serve(loop_of_2019(rec, color=1), warm_up=1),
    "mxface-index": lambda index: serve(our_index(index), warm_up=1),
    "mx.recordio-index": lambda index: serve(index_of_2019(index), warm_up=1),
}


def pack_lfw(folder: Path) -> Path:
    """`train.rec` of all LFW images, by the product's packer."""
    from mxface.data.face2rec2 import main as face2rec2
    from mxface.data.folders import list_faces
    from mxface.formats.lst import ListItem, format_line

    with tarfile.open(ASSETS / "lfw" / "lfw-112x112.tar.gz") as archive:
        archive.extractall(folder / "images", filter="data")
    (root,) = (folder / "images").iterdir()
    items = [ListItem(aligned=True, path=str(face.path), label=face.label) for face in list_faces(root)]
    (folder / "train.lst").write_text("".join(f"{format_line(item)}\n" for item in items))
    if face2rec2([str(folder / "train"), "--image-size", "112,112"]):
        raise SystemExit("face2rec2 failed; its message is above")
    return folder / "train.rec"


def write_large_index(path: Path) -> Path:
    """An index like that of faces_emore: 5.8 million lines, about 110 MB of text."""
    offsets = np.arange(INDEX_LINES, dtype=np.int64) * 2736
    with path.open("w") as file:
        for start in range(0, INDEX_LINES, 100_000):
            chunk = offsets[start : start + 100_000].tolist()
            file.write("".join(f"{start + row}\t{offset}\n" for row, offset in enumerate(chunk)))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=sorted(SIDES), help="(internal) be one of the sides")
    parser.add_argument("--file", type=Path, help="(internal) the file to work on")
    args = parser.parse_args()
    if args.side:
        return SIDES[args.side](args.file)
    with tempfile.TemporaryDirectory() as folder:
        rec = pack_lfw(Path(folder))
        images = [side(name, rec) for name in ("mxface", "mxface-process", "decode", "loop-of-2019")]
        title = f"\n{rec.stat().st_size / 1e6:.1f} MB of LFW, batch {BATCH}, mirror, one thread"
        print_table(compare(images, rounds=args.rounds), baseline="loop-of-2019", unit="images", title=title)
        colours = [side(name, rec) for name in ("mxface-color", "mxface-color-process", "decode", "loop-of-2019-color")]
        title = f"\nthe same with colour jitter, batch {BATCH}"
        print_table(compare(colours, rounds=args.rounds), baseline="loop-of-2019-color", unit="images", title=title)
        index = write_large_index(Path(folder) / "large.idx")
        indices = [side(name, index) for name in ("mxface-index", "mx.recordio-index")]
        title = f"\nan index of {INDEX_LINES:,} lines"
        print_table(compare(indices, rounds=args.rounds), baseline="mx.recordio-index", unit="lines", title=title)
    return 0


def side(name: str, file: Path) -> Side:
    python = mxnet_python() if "2019" in name or "mx." in name else sys.executable
    return Side(name, python, __file__, ["--file", str(file)])


if __name__ == "__main__":
    sys.exit(main())
