"""`bench_data.py`: images a second by reading, decoding and whole batches, and a verdict on what bounds the machine."""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mxface.cli import HelpFormatter, command, setup_logging
from mxface.cpus import MOST_WORKERS, usable_cpus
from mxface.errors import ConfigError, DataError, FormatError
from mxface.formats.dataset_property import read_property
from mxface.loaders import RecordDataset, TrainLoader
from mxface.loaders.decode import decode_image
from mxface.loaders.encoded_images import EncodedImages
from mxface.loaders.epoch import epoch_order
from mxface.loaders.ordered_map import ordered_map

logger = logging.getLogger(__name__)

# A small set is repeated to this many images: the start of an epoch is not what is to be measured.
ENOUGH_IMAGES = 50_000
IMAGES_TO_DECODE = 2_000
IMAGES_PER_READ = 64
# Processes are advised where they give so many times the images of threads: they take more memory and time to start.
WORTH_PROCESSES = 1.1

DESCRIPTION = """\
Measure how many images a second this machine can prepare for training, and say what bounds it.

  python src/data/bench_data.py --data-dir datasets/faces_emore --need 4000

Measured for --seconds each: reading train.rec (told to be dropped from memory first, then out of memory), decoding
alone on one core, and batches as recognition/train.py makes them, by more and more threads and by as many processes.
Threads, the default of training, decode side by side, but take turns at the short steps between (reading, colour
jitter, copying): where that holds many cores up, and the GPU could take more, train with --workers N.

A run on several ranks has a loader in each: its ranks share what is measured here. Other programs at work meanwhile
take from the figures.
"""


@dataclass(frozen=True)
class Rate:
    """What was measured, and the images a second; `flag` is training's way to ask for it."""

    name: str
    images_per_s: float
    flag: str = ""


@dataclass(frozen=True)
class Verdict:
    """`bound`: reading, decoding or augmentation. `images_per_s` with `flag` is the most that training can get."""

    bound: str
    images_per_s: float
    flag: str
    enough: bool | None
    sentence: str


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, the verdict."""
    args = parse_arguments(argv)
    setup_logging()
    require_sense(args)
    path = args.data_dir / "train.rec"
    if not path.is_file():
        raise DataError(f"{path}: no such file; pack images with src/data/face2rec2.py, or name another --data-dir")
    cpus = args.cpus or usable_cpus()
    if (load := os.getloadavg()[0]) > cpus / 2:
        logger.warning("load average %.1f on %d cores: the figures are of what other programs leave", load, cpus)
    with logging_redirect_tqdm(), without_warnings("mxface.loaders"):  # damage is counted here, by every loader anew
        bench = Bench(path, args)
        rates = measure(bench, cpus)
    if bench.damaged:
        logger.warning(
            "%s: %d of %d images are damaged and were passed over", path, len(bench.damaged), bench.num_images
        )
    verdict = judge(rates, cpus, size=path.stat().st_size, free=free_memory(), need=args.need)
    if args.json:
        report = {"data": str(path), "cpus": cpus, "rates": [asdict(rate) for rate in rates], **asdict(verdict)}
        print(json.dumps(report, indent=2))
    else:
        print_table(rates)
        print(verdict.sentence)
    return 0


@contextmanager
def without_warnings(name: str) -> Iterator[None]:
    """While entered, the logger `name` tells errors only."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_data.py", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with train.rec, train.idx, property")
    parser.add_argument("--need", type=float, default=0, help="images a second that training takes; 0: not asked")
    parser.add_argument("--seconds", type=float, default=3, help="time for each measurement")
    parser.add_argument("--batch-size", type=int, default=128, help="images in a batch")
    parser.add_argument("--cpus", type=int, default=0, help="cores to use up to; 0: all")
    parser.add_argument("--color", type=int, default=0, help="data_color of the config: 1 jitter, 2 and JPEG")
    parser.add_argument("--cutoff", type=int, default=0, help="data_cutoff of the config: side of a grey square")
    parser.add_argument("--rand-mirror", type=int, default=1, help="data_rand_mirror of the config: 0 or 1")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser.parse_args(argv)


def require_sense(args: argparse.Namespace) -> None:
    """Raise ConfigError for a flag whose value cannot work."""
    limits = {
        "seconds": (0 < args.seconds < math.inf, "more than 0"),
        "cpus": (0 <= args.cpus <= MOST_WORKERS, f"a number of cores up to {MOST_WORKERS}, or 0 for all"),
        "need": (0 <= args.need < math.inf, "images a second, or 0 for no such question"),
        "batch_size": (0 < args.batch_size <= ENOUGH_IMAGES, f"a number of images from 1 to {ENOUGH_IMAGES}"),
        "color": (args.color in (0, 1, 2), "0 (none), 1 (jitter) or 2 (jitter and JPEG)"),
        "cutoff": (args.cutoff >= 0, "a side in pixels, or 0 for none"),
        "rand_mirror": (args.rand_mirror in (0, 1), "0 or 1"),
    }
    for name, (is_sensible, allowed) in limits.items():
        if not is_sensible:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be {allowed}")


class Bench:
    """One data set, and how to measure each part of its way into training. Rates are images a second."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        dataset = RecordDataset(path)
        self.num_images = dataset.num_images
        self.dataset = repeated(dataset, math.ceil(max(ENOUGH_IMAGES, args.batch_size) / self.num_images))
        prop = read_property(path.parent)
        self.settings: dict[str, Any] = {
            "batch_size": args.batch_size,
            "image_shape": (prop.height, prop.width, 3),
            "rand_mirror": args.rand_mirror,
            "color": args.color,
            "cutoff": args.cutoff,
            "damaged_limit": 1.0,
        }
        self.seconds = args.seconds
        self.damaged: set[int] = set()

    def reading(self, threads: int, *, from_disk: bool) -> float:
        """Records read in random order, each once at most where they are to come `from_disk`."""
        images = self.dataset.images
        order = epoch_order(0, 0, self.num_images)
        if from_disk and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(images.file, 0, 0, os.POSIX_FADV_DONTNEED)
        parts = np.array_split(order, math.ceil(len(order) / IMAGES_PER_READ))

        def read(numbers: np.ndarray[Any, Any]) -> int:
            for number in numbers.tolist():
                with suppress(FormatError):
                    images.read(number)
            return len(numbers)

        work = parts if from_disk else itertools.cycle(parts)
        return rate(ordered_map(read, work, threads=threads, window=2 * threads), self.seconds)

    def decoding(self) -> float:
        """One thread, encoded images in memory."""
        encoded = []
        for number in epoch_order(0, 0, self.num_images)[:IMAGES_TO_DECODE].tolist():
            with suppress(FormatError):
                encoded.append(bytes(self.dataset.read_encoded(number)))

        def decode() -> Iterator[int]:
            for data in itertools.cycle(encoded):
                with suppress(DataError):
                    decode_image(data)
                yield 1

        return rate(decode(), self.seconds)

    def batches(self, *, threads: int = 1, workers: int = 0) -> float:
        """By so many threads or processes, after the first batch."""
        loader = TrainLoader(self.dataset, threads=threads, workers=workers, **self.settings)
        try:
            batches = itertools.chain.from_iterable(loader.epoch(epoch) for epoch in itertools.count())
            next(batches)
            return rate((len(batch.data) for batch in batches), self.seconds)
        finally:
            loader.close()
            self.damaged |= {number % self.num_images for number in loader.damaged}


def repeated(dataset: RecordDataset, times: int) -> RecordDataset:
    """The images again and again."""
    whole = copy.copy(dataset)
    images = dataset.images
    whole.keys = np.tile(dataset.keys, times)
    whole.images = EncodedImages(images.path, np.tile(images.offsets, times), np.tile(images.ends, times))
    return whole


def rate(counts: Iterator[int], seconds: float) -> float:
    """The sum of the counts that come within `seconds`, a second."""
    start = time.perf_counter()
    total = 0
    for count in counts:
        total += count
        if time.perf_counter() - start >= seconds:
            break
    return total / (time.perf_counter() - start)


def measure(bench: Bench, cpus: int) -> list[Rate]:
    """All rates, in the order of the table."""
    plan: list[tuple[str, str, Callable[[], float]]] = [
        ("reading from disk", "", partial(bench.reading, cpus, from_disk=True)),
        ("reading from memory, 1 core", "", partial(bench.reading, 1, from_disk=False)),
        ("decoding, 1 core", "", bench.decoding),
    ]
    counts = numbers_up_to(cpus)
    plan += [(f"batches, {n} thread(s)", f"--threads {n}", partial(bench.batches, threads=n)) for n in counts]
    plan += [(f"batches, {n} process(es)", f"--workers {n}", partial(bench.batches, workers=n)) for n in counts]
    rates = []
    bar = tqdm(plan, unit="rate", disable=None)
    for name, flag, work in bar:
        bar.set_description(name)
        rates.append(Rate(name, work(), flag))
    return rates


def numbers_up_to(cpus: int) -> list[int]:
    """1, 2, 4 … and `cpus`."""
    powers = [2**power for power in range(cpus.bit_length()) if 2**power < cpus]
    return [*powers, cpus]


def judge(rates: Sequence[Rate], cpus: int, *, size: int, free: int, need: float) -> Verdict:
    """What bounds the machine. `size` of the records and `free` memory in bytes; `need` images a second, 0 for none."""
    reading, memory, decoding = rates[:3]
    batches = rates[3:]
    best = best_batches(batches)
    bound, most = "decoding", best.images_per_s
    if batches[0].images_per_s < decoding.images_per_s / 2:
        bound = "augmentation"
    # Not much slower than out of memory: then it is this reading in threads that takes the time, and no disk.
    from_disk = reading.images_per_s < min(best.images_per_s, memory.images_per_s / 2)
    if from_disk and size > free:
        bound, most = "reading", reading.images_per_s
        text = (
            f"Reading bounds this machine: {most:,.0f} images/s from disk, where {best.images_per_s:,.0f} could be "
            f"made with {best.flag}; a faster disk helps, or memory for all {size / 1e9:.1f} GB ({free / 1e9:.1f} are "
            "free)."
        )
    else:
        text = (
            f"{bound.capitalize()} bounds this machine: {most:,.0f} images/s on {cpus} core(s) with {best.flag}, where "
            f"decoding alone gives {decoding.images_per_s:,.0f} on one; a GPU that trains faster than that waits."
        )
        if from_disk:
            text += (
                f" While the records are not in memory yet, in the first epoch, {reading.images_per_s:,.0f} are read."
            )
    enough = most >= need if need else None
    if enough is not None:
        answer = f"enough ({most / need:.2f} times)" if enough else f"too few by a factor of {need / most:.2f}"
        text += f" For the {need:,.0f} images/s that are needed that is {answer}."
    return Verdict(bound, most, best.flag, enough, text)


def best_batches(batches: Sequence[Rate]) -> Rate:
    """The fastest way; threads, unless processes are worth it."""
    by_threads = max((rate for rate in batches if "threads" in rate.flag), key=lambda rate: rate.images_per_s)
    by_workers = max((rate for rate in batches if "workers" in rate.flag), key=lambda rate: rate.images_per_s)
    return by_workers if by_workers.images_per_s > WORTH_PROCESSES * by_threads.images_per_s else by_threads


def free_memory() -> int:
    """Bytes that the system could use to keep files: free ones and those that hold files already."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def print_table(rates: Sequence[Rate]) -> None:
    """A line a measurement; the last column is training's flag."""
    print(f"{'':<28} {'images/s':>12}  flag")
    for rate in rates:
        print(f"{rate.name:<28} {rate.images_per_s:>12,.0f}  {rate.flag}".rstrip())
