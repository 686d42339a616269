"""train_parall.py with very many classes: what each rank holds, and what a step takes, by the number of ranks.

    python bench/bench_ranks.py --records DIR                        # 2,000,000 classes of y1 on 1, 2 and 4 ranks
    python bench/bench_ranks.py --records DIR --ranks 4 --sample-rate 0.1

DIR has a train.rec with its .idx; its few people have the first of the many classes, the others are nobody's. Each row
is a run of the command: the largest resident memory of a rank (VmHWM, of the largest and the smallest rank), the
forecast that the command made of it, and seconds a step (the median of those after the first). The memory is that up
to the end, the writing of the training state included. The ranks share this machine's cores, so that the speed is no
claim; what is one: memory falls with the number of ranks.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
POLL_S = 0.2
ENTRIES = """
config.max_steps = {steps}
config.count_flops = False
dataset.many = edict()
dataset.many.dataset_path = "{folder}"
dataset.many.num_classes = {classes}
dataset.many.image_shape = (112, 112, 3)
dataset.many.val_targets = []
"""


def write_config(folder: Path, args: argparse.Namespace) -> Path:
    """sample_config.py with the data set `many`, whose records are links."""
    data = folder / "many"
    data.mkdir()
    for name in ("train.rec", "train.idx"):
        (data / name).symlink_to(Path(args.records, name).resolve())
    entries = ENTRIES.format(steps=args.steps - 1, folder=data, classes=args.classes)
    path = folder / "config.py"
    sample = (REPOSITORY / "sample_config.py").read_text()
    path.write_text(sample.replace("\ndef generate_config", f"{entries}\n\ndef generate_config"))
    return path


def peak_bytes(process: psutil.Process) -> int:
    """The largest resident memory of a process so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


def watch(process: subprocess.Popen[str], count: int) -> dict[int, int]:
    """Until the command ends: the largest memory of each of its ranks, by process number."""
    peaks: dict[int, int] = {}
    command = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for rank in command.children() if count > 1 else [command]:
                peaks[rank.pid] = max(peaks.get(rank.pid, 0), peak_bytes(rank))
        except (psutil.NoSuchProcess, FileNotFoundError, TypeError):
            pass  # it has just ended
        time.sleep(POLL_S)
    return peaks


def run(config: Path, count: int, rate: float, args: argparse.Namespace) -> tuple[list[int], str]:
    """Memory of each rank, and what the command said."""
    words = [REPOSITORY / "recognition/train_parall.py", "--config", config, "--network", "y1", "--dataset", "many"]
    words += ["--per-batch-size", args.per_batch_size, "--frequent", 1, "--ckpt", 0, "--verbose", 10**9]
    words += ["--state-steps", 0, "--ranks", count, "--sample-rate", rate, "--models-root", config.parent / "models"]
    log = config.parent / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", *map(str, words)],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        peaks = watch(process, count)
    said = log.read_text()
    if process.returncode:
        sys.exit(said)
    return sorted(peaks.values()), said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", required=True, help="folder with train.rec and train.idx")
    parser.add_argument("--classes", type=int, default=2_000_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--sample-rate", type=float, nargs="+", default=[1.0])
    parser.add_argument("--per-batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    print("ranks  sample rate  largest MB  smallest MB  forecast MB  largest/forecast  s/step", flush=True)
    for count in args.ranks:
        for rate in args.sample_rate:
            with tempfile.TemporaryDirectory(dir=args.records) as folder:
                peaks, said = run(write_config(Path(folder), args), count, rate, args)
            speeds = [float(speed) for speed in re.findall(r"Speed: (\S+) samples/sec", said)]
            seconds = statistics.median(count * args.per_batch_size / speed for speed in speeds)
            forecast = 1e9 * float(re.search(r"memory per rank: predicted (\S+) GB", said)[1])  # type: ignore[index]
            megabytes = "  ".join(f"{size / 1e6:11.0f}" for size in (peaks[-1], peaks[0], forecast))
            print(f"{count:5}  {rate:11} {megabytes}  {peaks[-1] / forecast:16.2f}  {seconds:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
