"""Embeddings of y1 (MobileFaceNet, 128-D) on one core: ours in float32 and bfloat16 against MXNet and ONNX Runtime.

    .venv/bin/python bench/bench_inference.py

Every side gets the same uint8 images and gives float32 embeddings, through `mxface.runtime`. The weights are initial
ones: they do not change the time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from harness import Side, compare, mxnet_python, print_table, serve
from learners import start_params

ENGINES = {
    "mxnet": ("mxnet", "float32"),
    "onnxruntime": ("onnxruntime", "float32"),
    "mxface": ("torch", "float32"),
    "mxface-bf16": ("torch", "bf16"),
}

IMAGES_PER_BLOCK = 128


def embedding_of(side: str, batch: int) -> Callable[[], int]:
    """A block of work: images through y1 on one engine, a batch at a time."""
    from mxface.graph import Checkpoint
    from mxface.runtime import build_predictor
    from mxface.symbols import get_symbol

    symbol = get_symbol("fmobilefacenet", emb_size=128, net_output="GDC")
    rng = np.random.default_rng(1)
    params = start_params(symbol, "fmobilefacenet", rng)
    engine, dtype = ENGINES[side]
    predictor = build_predictor(Checkpoint(symbol, params, {}), engine=engine, device="cpu", dtype=dtype)
    images = rng.integers(0, 256, (batch, 3, 112, 112)).astype(np.uint8)

    def work() -> int:
        for _ in range(0, IMAGES_PER_BLOCK, batch):
            predictor.predict(images)
        return IMAGES_PER_BLOCK

    return work


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 1], help="batch sizes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", choices=ENGINES, help="(internal) be one of the sides")
    args = parser.parse_args()
    if args.side:
        return serve(embedding_of(args.side, args.batch[0]))
    for batch in args.batch:
        pythons = {name: mxnet_python() if name == "mxnet" else sys.executable for name in ENGINES}
        sides = [Side(name, python, __file__, ["--batch", str(batch)]) for name, python in pythons.items()]
        blocks = compare(sides, rounds=args.rounds)
        print_table(blocks, baseline="mxnet", unit="images", title=f"\ny1, batch {batch}, one thread")
        print_table(blocks, baseline="onnxruntime", unit="images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
