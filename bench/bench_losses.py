"""What the younger losses cost beside ArcFace, and what it costs to mine triplets; one core.

    .venv/bin/python bench/bench_losses.py             a step of the head: 85,742 classes, 512 numbers, batch 64
    .venv/bin/python bench/bench_losses.py --mining    a bag of 7,200 images, five a person, embeddings of 512 numbers

The head's sides are SoftmaxHead.step with each loss; *arcface3* is ArcFace with as many rows as *sub_centre* has,
three a class. Mining: *select* is select_triplets, *loop* goes by the same rule in the way of 2019's iterator, a row of
distances an anchor and a Python loop over its pairs (in NumPy; 2019 had the distances from GPUs).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np

from harness import Side, compare, print_table, serve

CLASSES, EMB_SIZE, BATCH = 85742, 512, 64
PEOPLE, IMAGES_EACH = 1440, 5
ALPHA = 0.3
RATE = {"lr": 0.1, "momentum": 0.9, "wd": 0.0005}
HEADS = ("arcface", "threshold", "intra", "inter", "magface", "adaface", "curricularface", "softmax", "centre",
         "arcface3", "sub_centre")  # fmt: skip
MINERS = ("loop", "select")


def head_step(name: str, classes: int) -> Callable[[], int]:
    import torch

    from mxface.losses import HeadConfig, SoftmaxHead
    from mxface.losses.adaface import AdaFace
    from mxface.losses.curricular import CurricularFace
    from mxface.losses.intra import IntraMargin
    from mxface.losses.magface import MagFace
    from mxface.losses.threshold import ThresholdMargin
    from mxface.runtime.heap import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    rules = {
        "threshold": lambda: ThresholdMargin(0.5, easy=False),
        "intra": lambda: IntraMargin(1.0, 0.5, 0.0, weight=1.0),
        "magface": lambda: MagFace(l_a=10, u_a=110, l_m=0.45, u_m=0.8, lambda_g=35),
        "adaface": lambda: AdaFace(0.4, 0.333),
        "curricularface": lambda: CurricularFace(0.5),
    }
    options = {
        "inter": {"m2": 0.5, "inter_weight": 1.0},
        "softmax": {"kind": "softmax"},
        "centre": {"kind": "softmax", "centre_weight": 0.003},
        "arcface3": {"m2": 0.5, "num_classes": 3 * classes},
        "sub_centre": {"m2": 0.5, "sub_centres": 3},
    }.get(name, {"m2": 0.5})
    config = HeadConfig(**{"num_classes": classes, "emb_size": EMB_SIZE, **options})
    head = SoftmaxHead(config, rule=rules[name]() if name in rules else None)
    rng = torch.Generator().manual_seed(0)
    batches = cycle(
        (torch.randn(BATCH, EMB_SIZE, generator=rng), torch.randint(classes, (BATCH,), generator=rng)) for _ in range(8)
    )

    def work() -> int:
        head.step(*next(batches), **RATE)
        return 1

    return work


def make_bag() -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings of people as far from one another as from themselves, nearly: every pair finds negatives."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(PEOPLE), IMAGES_EACH)
    rows = rng.standard_normal((PEOPLE, EMB_SIZE))[labels] + 6 * rng.standard_normal((len(labels), EMB_SIZE))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def loop(rows: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, int]]:
    triplets = []
    random = np.random.RandomState(0)
    for first in range(0, len(labels), IMAGES_EACH):
        for anchor in range(first, first + IMAGES_EACH - 1):
            distances = np.sum(np.square(rows[anchor] - rows), axis=1)
            distances[first : first + IMAGES_EACH] = np.nan
            for positive in range(anchor + 1, first + IMAGES_EACH):
                near = np.sum(np.square(rows[anchor] - rows[positive]))
                candidates = np.where(np.logical_and(distances - near < ALPHA, near < distances))[0]
                if len(candidates):
                    triplets.append((anchor, positive, int(candidates[random.randint(len(candidates))])))
    random.shuffle(triplets)
    return triplets


def miner(name: str) -> Callable[[], int]:
    rows, labels = make_bag()
    if name == "loop":
        return lambda: len(loop(rows, labels))
    import torch

    from mxface.losses.triplet_mining import PhiloxDraws, select_triplets

    torch.set_num_threads(1)
    units = torch.from_numpy(rows)
    return lambda: len(select_triplets(units, labels, alpha=ALPHA, draws=PhiloxDraws(0, 0)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mining", action="store_true", help="time the miners")
    parser.add_argument("--classes", type=int, default=CLASSES, help="identities")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--sides", nargs="+", choices=HEADS, default=HEADS, help="which losses")
    parser.add_argument("--side", choices=HEADS + MINERS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side in MINERS:
        return serve(miner(args.side), warm_up=1)
    if args.side:
        return serve(head_step(args.side, args.classes))
    if args.mining:
        sides = [Side(name, sys.executable, __file__) for name in MINERS]
        title = f"mining: {PEOPLE * IMAGES_EACH:,} images, {EMB_SIZE} numbers, one core"
        print_table(compare(sides, rounds=args.rounds), baseline="loop", unit="triplets", title=title)
        return 0
    sides = [Side(name, sys.executable, __file__, ["--classes", str(args.classes)]) for name in args.sides]
    title = f"losses: {args.classes:,} classes, {EMB_SIZE} numbers, batch {BATCH}, one core"
    blocks = compare(sides, rounds=args.rounds, one_at_a_time=True)
    print_table(blocks, baseline="arcface", unit="steps", title=title)
    return 0


if __name__ == "__main__":
    sys.exit(main())
