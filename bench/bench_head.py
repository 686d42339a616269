"""The class head alone: forward, backward and momentum SGD, against 2019's graph on MXNet, with peak memory.

    .venv/bin/python bench/bench_head.py             85,742 classes, 512 numbers, batch 64: faces_emore's head
    .venv/bin/python bench/bench_head.py --large     1,000,000 classes; needs 13 GB for MXNet's side

*mxnet* runs symbols/heads.py's ArcFace graph, as 2019 trained it. *fused* is SoftmaxHead.step, *fused bf16* the same
with bfloat16 products, *sampled* with sample_rate 0.1, *dense* the autograd reference with train.optimizer.SGD. Each
side says on stderr what its process held before it made the head; the table's peak is the whole process. --large holds
one side in memory at a time: every turn of a side is a new process, which warms up before it is timed.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, cycle

import numpy as np

from harness import Side, compare, mxnet_python, print_table, serve

STEPS_PER_BLOCK = 3
LARGE_CLASSES = 1_000_000
SAMPLE_RATE = 0.1
BATCHES = 8
RATE = {"lr": 0.1, "momentum": 0.9, "wd": 0.0005}
SCALE = 64.0
SIDES = ("mxnet", "dense", "fused", "fused bf16", "sampled", "sampled bf16")
LARGE_SIDES = ("mxnet", "fused", "fused bf16", "sampled", "sampled bf16")

Step = Callable[[], None]


def make_batches(classes: int, emb_size: int, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Embeddings and labels that take turns, the same for every side."""
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((batch, emb_size), np.float32), rng.integers(classes, size=batch)) for _ in range(BATCHES)
    ]


def mxnet_side(classes: int, emb_size: int, batch: int) -> Step:
    import mxnet as mx

    from mxface.graph import Variable
    from mxface.symbols.heads import MARGINS, margin_softmax_loss

    note_memory("mxnet")
    loss = margin_softmax_loss(
        Variable("data"), num_classes=classes, emb_size=emb_size, batch_size=batch, s=SCALE, margin=MARGINS["arcface"]
    )
    module = mx.mod.Module(mx.sym.load_json(loss.tojson()), context=mx.cpu())
    module.bind([("data", (batch, emb_size))], [("softmax_label", (batch,))], inputs_need_grad=True)
    module.init_params(mx.init.Normal(0.01))
    settings = {"learning_rate": RATE["lr"], "momentum": RATE["momentum"], "wd": RATE["wd"], "rescale_grad": 1.0}
    module.init_optimizer(kvstore=None, optimizer="sgd", optimizer_params=settings)
    batches = cycle(
        mx.io.DataBatch([mx.nd.array(embedding)], [mx.nd.array(label)])
        for embedding, label in make_batches(classes, emb_size, batch)
    )

    def step() -> None:
        module.forward_backward(next(batches))
        module.update()
        mx.nd.waitall()

    return step


def torch_side(side: str, classes: int, emb_size: int, batch: int) -> Step:
    import torch

    from mxface.losses import HeadConfig, SoftmaxHead
    from mxface.train.optimizer import SGD

    torch.set_num_threads(1)
    note_memory("torch")
    config = HeadConfig(num_classes=classes, emb_size=emb_size, s=SCALE, m2=0.5)
    head = SoftmaxHead(
        config,
        product_dtype=torch.bfloat16 if side.endswith("bf16") else None,
        sample_rate=SAMPLE_RATE if side.startswith("sampled") else 1.0,
    )
    numbers = count()
    batches = cycle(
        (torch.from_numpy(embedding).requires_grad_(), torch.from_numpy(label))
        for embedding, label in make_batches(classes, emb_size, batch)
    )

    def fused_step() -> None:
        head.step(*next(batches), **RATE, step=next(numbers))

    if side != "dense":
        return fused_step
    optimizer = SGD(head.named_parameters(), **RATE)

    def dense_step() -> None:
        optimizer.zero_grad()
        head(*next(batches)).loss.backward()
        optimizer.step()

    return dense_step


def note_memory(engine: str) -> None:
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{engine}: {held:.0f} MB before the head is made", file=sys.stderr)


def run_side(side: str, classes: int, emb_size: int, batch: int, steps: int) -> int:
    make = mxnet_side if side == "mxnet" else partial(torch_side, side)
    step = make(classes, emb_size, batch)

    def work() -> int:
        for _ in range(steps):
            step()
        return steps

    return serve(work)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help=f"{LARGE_CLASSES:,} classes, one side at a time")
    parser.add_argument("--classes", type=int, help="number of identities (default 85742)")
    parser.add_argument("--emb-size", type=int, default=512, help="length of an embedding")
    parser.add_argument("--batch", type=int, default=64, help="embeddings a step")
    parser.add_argument("--rounds", type=int, help="turns of each side (default 7; 3 with --large)")
    parser.add_argument("--steps", type=int, help=f"steps a turn (default {STEPS_PER_BLOCK}; 1 with --large)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="who takes part")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    classes = args.classes or (LARGE_CLASSES if args.large else 85742)
    steps = args.steps or (1 if args.large else STEPS_PER_BLOCK)
    if args.side:
        return run_side(args.side, classes, args.emb_size, args.batch, steps)
    names = args.sides or (LARGE_SIDES if args.large else SIDES)
    numbers = {"classes": classes, "emb-size": args.emb_size, "batch": args.batch, "steps": steps}
    sizes = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    sides = [Side(name, mxnet_python() if name == "mxnet" else sys.executable, __file__, sizes) for name in names]
    title = f"head: {classes:,} classes, {args.emb_size} numbers, batch {args.batch}, one core"
    blocks = compare(sides, rounds=args.rounds or (3 if args.large else 7), one_at_a_time=args.large)
    print_table(blocks, baseline="mxnet", unit="steps", title=title)
    return 0


if __name__ == "__main__":
    sys.exit(main())
