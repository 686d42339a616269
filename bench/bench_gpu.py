"""One training step on a GPU, part by part: r50 and r100 in bfloat16, arcface over 85,742 and a million classes.

    python bench/bench_gpu.py                                  # the whole table (about three minutes on an H100)
    python bench/bench_gpu.py --networks r50 --batch-sizes 128 --classes 85742 --compile

There is no MXNet for GPUs sold since 2022, so there is no other side here: images a second, the largest memory that
torch held, and the share of each part by CUDA's events (medians of the steps after the warm-up).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from learners import endless_config, start_params
from mxface.loaders import Batch
from mxface.losses import HeadConfig, SoftmaxHead
from mxface.symbols import get_symbol
from mxface.train.guard import require_finite_loss
from mxface.train.learner import Learner

LAYERS = {"r50": 50, "r100": 100}
PARTS = ("fetch", "forward", "head", "backward", "update")


def make_learner(network: str, num_classes: int, args: argparse.Namespace, batch_size: int) -> Learner:
    """The product's learner, from random weights."""
    embedding = get_symbol("fresnet", num_layers=LAYERS[network], emb_size=512, net_output="E")
    config = endless_config(
        batch_size=batch_size, lr=0.01, dtype=args.dtype, head_dtype=args.head_dtype, compile=args.compile
    )
    head = SoftmaxHead(
        HeadConfig(num_classes=num_classes, emb_size=512, m2=0.5),
        product_dtype=torch.bfloat16 if args.head_dtype == "bf16" else None,
        device="cuda",
    )
    params = start_params(embedding, "fresnet", np.random.default_rng(0))
    return Learner(embedding, params, head, config, device=torch.device("cuda", 0))


class Clock:
    """CUDA events between the parts of a step."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def mark(self, part: str) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.events.append((part, event))

    def wrap(self, function: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
        """`function`, its start ending the part `before`, its end the part `after`."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.mark(before)
            result = function(*args, **kwargs)
            self.mark(after)
            return result

        return timed

    def milliseconds(self) -> dict[str, float]:
        torch.cuda.synchronize()
        found = dict.fromkeys(PARTS, 0.0)
        for (_, start), (part, end) in zip(self.events, self.events[1:], strict=False):
            found[part] += start.elapsed_time(end)
        self.events.clear()
        return found


def measure(network: str, batch_size: int, num_classes: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    learner = make_learner(network, num_classes, args, batch_size)
    rng = np.random.default_rng(0)
    batch = Batch(
        rng.integers(0, 256, (batch_size, 112, 112, 3), np.uint8),
        rng.integers(0, num_classes, batch_size, np.int64),
        np.arange(batch_size),
    )
    clock = Clock()
    learner.head.step = clock.wrap(learner.head.step, "forward", "head")  # type: ignore[method-assign]
    learner.optimizer.step = clock.wrap(learner.optimizer.step, "backward", "update")  # type: ignore[method-assign]
    steps: list[dict[str, float]] = []
    seconds: list[float] = []
    for number in range(args.warm_up + args.steps):
        started = time.perf_counter()
        clock.mark("start")
        images, label = learner.fetch(batch)
        clock.mark("fetch")
        learner.step(
            learner.forward(images),
            label,
            lr=0.01,
            check=require_finite_loss,
        )
        parts = clock.milliseconds()
        if number >= args.warm_up:
            steps.append(parts)
            seconds.append(time.perf_counter() - started)
    row = {
        "network": network,
        "batch": batch_size,
        "classes": num_classes,
        "images_per_second": batch_size / statistics.median(seconds),
        "gigabytes": torch.cuda.max_memory_allocated() / 2**30,
        **{part: statistics.median(step[part] for step in steps) for part in PARTS},
    }
    del learner, clock
    gc.collect()
    return row


def line(row: dict[str, Any]) -> str:
    total = sum(row[part] for part in PARTS)
    shares = "  ".join(f"{part} {row[part]:6.1f} ms {row[part] / total:4.0%}" for part in PARTS)
    return (
        f"{row['network']:5} batch {row['batch']:4} classes {row['classes']:9,}  "
        f"{row['images_per_second']:7.0f} img/s  {row['gigabytes']:5.1f} GB   {shares}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--classes", nargs="+", type=int, default=[85_742, 1_000_000])
    parser.add_argument("--dtype", choices=("float32", "bf16"), default="bf16")
    parser.add_argument("--head-dtype", choices=("float32", "bf16"), default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--json", help="write the rows here, too")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU here: this bench has nothing to measure", file=sys.stderr)
        return 0
    print(torch.cuda.get_device_name(), "torch", torch.__version__, f"dtype {args.dtype}, head {args.head_dtype}")
    rows = []
    for network in args.networks:
        for num_classes in args.classes:
            for batch_size in args.batch_sizes:
                try:
                    rows.append(measure(network, batch_size, num_classes, args))
                except torch.OutOfMemoryError:
                    print(f"{network} batch {batch_size} classes {num_classes:,}: more memory than this GPU has")
                    gc.collect()
                    continue
                print(line(rows[-1]), flush=True)
    if args.json:
        with open(args.json, "w") as file:  # noqa: PTH123
            json.dump(rows, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
