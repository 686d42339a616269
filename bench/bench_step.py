"""One training step of MobileFaceNet y1 with arcface over 10,000 classes: ours against MXNet's Module on 2019's graph.

    .venv/bin/python bench/bench_step.py

Same batch, one thread each, the same metrics (acc, lossvalue), the same SGD; the sides take turns. MXNet is handed its
float batch ready made, ours starts from the loader's uint8 images.

`--malloc` adds sides that tell glibc from outside, before the process starts, what `runtime.heap` tells it from within
(and to use huge pages), and sides that tell it nothing: what would a command gain that starts itself anew with them?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from harness import Side, compare, mxnet_python, print_table, ratio, serve
from learners import endless_config, start_params

TARGETS = {"float32": 4.0, "bf16": 6.0}
MALLOC = {
    "env": {
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "17179869184",
        "MALLOC_TOP_PAD_": "134217728",
        "THP_MEM_ALLOC_ENABLE": "1",
    },
    "untold": {"MXFACE_KEEP_MEMORY": "0"},
}
LR, MOMENTUM, WD = 0.1, 0.9, 0.0005


def y1_embedding():  # type: ignore[no-untyped-def]
    """y1 of sample_config.py."""
    from mxface.symbols import get_symbol

    return get_symbol("fmobilefacenet", emb_size=128, net_output="GDC", net_blocks=(1, 4, 6, 2))


def mxface_step(dtype: str, batch_size: int, num_classes: int) -> Callable[[], int]:
    """The product's learner, as `train.loop.fit` drives it."""
    import torch

    from mxface.loaders import Batch
    from mxface.losses import HeadConfig, SoftmaxHead
    from mxface.train.guard import require_finite_loss
    from mxface.train.learner import Learner
    from mxface.train.metrics import AccMetric, LossValueMetric

    rng = np.random.default_rng(0)
    embedding = y1_embedding()
    config = endless_config(batch_size=batch_size, lr=LR, wd=WD, mom=MOMENTUM, dtype=dtype)
    head = SoftmaxHead(HeadConfig(num_classes=num_classes, emb_size=128, m2=0.5))
    learner = Learner(
        embedding, start_params(embedding, "fmobilefacenet", rng), head, config, device=torch.device("cpu")
    )
    batch = Batch(
        rng.integers(0, 256, (batch_size, 112, 112, 3), np.uint8),
        rng.integers(0, num_classes, batch_size, np.int64),
        np.arange(batch_size),
    )
    metrics = (AccMetric(), LossValueMetric())

    def step() -> int:
        images, label = learner.fetch(batch)
        output = learner.step(
            learner.forward(images),
            label,
            lr=LR,
            check=require_finite_loss,
        )
        for metric in metrics:
            metric.update(output)
            metric.value()
        return batch_size

    return step


def mxnet_step(batch_size: int, num_classes: int) -> Callable[[], int]:
    """2019's way: Module, the loss graph with one-hot labels, SGD, and the two metrics as its metric.py has them."""
    import mxnet as mx

    from mxface.symbols.heads import MARGINS, margin_softmax_loss

    rng = np.random.default_rng(0)
    embedding = y1_embedding()
    whole = margin_softmax_loss(
        embedding, num_classes=num_classes, emb_size=128, batch_size=batch_size, s=64.0, margin=MARGINS["arcface"]
    )
    module = mx.mod.Module(
        mx.sym.load_json(whole.tojson()), data_names=["data"], label_names=["softmax_label"], context=mx.cpu()
    )
    module.bind([("data", (batch_size, 3, 112, 112))], [("softmax_label", (batch_size,))])
    values = start_params(embedding, "fmobilefacenet", rng)
    states = set(embedding.list_auxiliary_states())
    arguments = {name: mx.nd.array(value) for name, value in values.items() if name not in states}
    arguments["fc7_weight"] = mx.nd.array(rng.normal(0, 0.01, (num_classes, 128)).astype(np.float32))
    module.init_params(
        arg_params=arguments, aux_params={name: mx.nd.array(values[name]) for name in states}, initializer=None
    )
    optimizer = mx.optimizer.SGD(learning_rate=LR, momentum=MOMENTUM, wd=WD, rescale_grad=1.0)
    module.init_optimizer(kvstore="device", optimizer=optimizer)
    batch = mx.io.DataBatch(
        data=[mx.nd.array(rng.integers(0, 256, (batch_size, 3, 112, 112)).astype(np.float32))],
        label=[mx.nd.array(rng.integers(0, num_classes, batch_size).astype(np.float32))],
    )

    def accuracy(label: np.ndarray, probability: np.ndarray) -> float:
        return float((probability.argmax(axis=1) == label).mean())

    def step() -> int:
        module.forward_backward(batch)
        module.update()
        outputs = module.get_outputs()
        accuracy(batch.label[0].asnumpy(), outputs[1].asnumpy())
        outputs[-1].asnumpy()
        mx.nd.waitall()
        return batch_size

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--num-classes", type=int, default=10_000)
    parser.add_argument("--malloc", action="store_true", help="also compare settings of the C library's memory")
    args = parser.parse_args()
    if args.side == "mxnet":
        return serve(mxnet_step(args.batch_size, args.num_classes))
    if args.side:
        return serve(mxface_step(args.side.split()[0], args.batch_size, args.num_classes))
    sizes = ("--batch-size", str(args.batch_size), "--num-classes", str(args.num_classes))
    sides = [Side("mxnet", mxnet_python(), __file__, sizes)]
    sides += [Side(dtype, sys.executable, __file__, sizes) for dtype in TARGETS]
    if args.malloc:
        sides += [
            Side(f"{dtype} {name}", sys.executable, __file__, sizes, env)
            for name, env in MALLOC.items()
            for dtype in TARGETS
        ]
    blocks = compare(sides, rounds=args.rounds)
    title = f"training step, y1, batch {args.batch_size}, {args.num_classes} classes, one thread"
    print_table(blocks, baseline="mxnet", unit="images", title=title)
    if args.malloc:
        for dtype in TARGETS:
            for name in MALLOC:
                times = ratio(blocks, f"{dtype} {name}", dtype)
                print(f"{dtype} {name} against {dtype}: {times:.3f}x")
    if "mxnet" not in blocks:
        return 0
    status = 0
    for dtype, target in TARGETS.items():
        times = ratio(blocks, dtype, "mxnet")
        print(f"{dtype} against MXNet: {times:.2f}x (wanted: at least {target}x)")
        status |= times < target
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
