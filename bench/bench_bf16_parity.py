"""Does bfloat16 change what a run learns? Loss curves of bf16 runs against the spread of three float32 seeds.

    .venv/bin/python bench/bench_bf16_parity.py --records DIR/train.rec --num-classes 423 --folder /tmp/parity

Every run is MobileFaceNet with 2019's blocks for y1 from scratch, arcface at s = 64 (where the products of the head
lose most), SGD at lr 0.1, batch 32, 300 steps, on records of faces: any data set of mxface's will do. The float32 runs
differ by their seed: start, order of the images, mirroring. The bf16 runs have the first one's. One process each, so
that a broken-off comparison goes on where it was; a run that is in the folder already is not repeated.

Curves are smoothed over 25 steps. Allowed: the band between the smallest and the largest float32 curve, widened on
both sides by 2 % of the loss there, since a fourth float32 seed would leave the bare band half of the time. The last
column, how far a run is from the float32 run of its own seed against how far float32 seeds are from one another, says
how much of the distance is bfloat16's at all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness import REPOSITORY

PICTURE = REPOSITORY / "docs" / "pictures" / "bf16-parity.png"
STEPS, BATCH_SIZE, LR, MOMENTUM, WD = 300, 32, 0.1, 0.9, 0.0005
SMOOTHED_OVER = 25
TOLERANCE = 0.02
BLOCKS_OF_Y1 = (1, 4, 6, 2)


class Run(NamedTuple):
    """One training: precision of the backbone and of the head's products."""

    name: str
    dtype: str
    head_dtype: str
    seed: int


REFERENCES = [Run(f"float32, seed {seed}", "float32", "float32", seed) for seed in range(3)]
TRIALS = [Run("--head-dtype bf16", "float32", "bf16", 0), Run("--dtype bf16 --head-dtype bf16", "bf16", "bf16", 0)]


def train(run: Run, records: Path, num_classes: int, side: int, device: str, steps: int) -> dict[str, object]:
    """Losses of all steps, and the CPU seconds they took."""
    import torch

    from mxface.loaders import RecordDataset, TrainLoader
    from mxface.losses import HeadConfig, SoftmaxHead
    from mxface.symbols import get_symbol
    from mxface.train.config import TrainConfig
    from mxface.train.guard import require_finite_loss
    from mxface.train.initializer import init_params
    from mxface.train.learner import Learner

    loader = TrainLoader(
        RecordDataset(records), batch_size=BATCH_SIZE, image_shape=(side, side, 3), seed=run.seed, threads=1
    )
    # y1's GDC needs 112 pixels; smaller ones end in the E head
    embedding = get_symbol(
        "fmobilefacenet",
        image_shape=(side, side, 3),
        emb_size=128,
        net_output="GDC" if side == 112 else "E",
        net_blocks=BLOCKS_OF_Y1,
    )
    arguments, _, states = embedding.infer_shape(data=(1, 3, side, side))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, "fmobilefacenet", np.random.default_rng(run.seed))
    config = TrainConfig(
        batch_size=BATCH_SIZE,
        lr=LR,
        lr_steps=(10**9,),
        wd=WD,
        mom=MOMENTUM,
        frequent=20,
        verbose=10**9,
        state_steps=0,
        ckpt=0,
        max_steps=0,
        seed=run.seed,
        dtype=run.dtype,
        wd_scope="all",
        head_dtype=run.head_dtype,
    )
    head = SoftmaxHead(
        HeadConfig(num_classes=num_classes, emb_size=128, s=64.0, m2=0.5),
        generator=torch.Generator().manual_seed(run.seed),
        product_dtype=torch.bfloat16 if run.head_dtype == "bf16" else None,
    )
    learner = Learner(embedding, params, head, config, device=torch.device(device))
    losses: list[float] = []
    started = time.process_time()
    batches = (batch for epoch in range(10**6) for batch in loader.epoch(epoch))
    for step, batch in zip(range(1, steps + 1), batches, strict=False):
        trained = learner.train_batch(batch, step=step, lr=LR, check=require_finite_loss)
        losses.append(float(trained.output.loss))
        if step % 50 == 0:
            print(f"{run.name}: step {step}, loss {np.mean(losses[-50:]):.3f}", file=sys.stderr, flush=True)
    return {"losses": losses, "cpu_s": time.process_time() - started}


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """Means over SMOOTHED_OVER steps."""
    return np.convolve(losses, np.full(SMOOTHED_OVER, 1 / SMOOTHED_OVER), mode="valid")


def report(curves: dict[str, dict[str, object]]) -> bool:
    """Print the table; whether all bf16 runs stay in the band."""
    smooth = {name: smoothed(curve["losses"]) for name, curve in curves.items()}  # type: ignore[arg-type]
    seeds = np.stack([smooth[run.name] for run in REFERENCES])
    low, high = seeds.min(axis=0), seeds.max(axis=0)
    allowed_low, allowed_high = low * (1 - TOLERANCE), high * (1 + TOLERANCE)
    between_seeds = np.mean([np.abs(seeds[i] - seeds[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))])
    print(f"float32 seeds differ by {between_seeds:.3f} on average; band {np.mean(high - low):.3f} wide")
    print(
        f"{'run':<32} {'last 50':>8} {'in band':>8} {'allowed':>8} {'worst':>8} "
        f"{'to its float32 twin':>20} {'cpu s':>7}"
    )
    everything_inside = True
    for name, curve in smooth.items():
        inside = ((curve >= low) & (curve <= high)).mean()
        allowed = ((curve >= allowed_low) & (curve <= allowed_high)).mean()
        worst = np.maximum(np.maximum(low - curve, curve - high) / curve, 0).max()
        is_trial = any(run.name == name for run in TRIALS)
        twin = f"{np.abs(curve - seeds[0]).mean() / between_seeds:.2f} x seeds" if is_trial else "-"
        if is_trial:
            everything_inside &= bool(allowed == 1)
        last = np.mean(curves[name]["losses"][-50:])  # type: ignore[index]
        print(
            f"{name:<32} {last:>8.3f} {inside:>8.1%} {allowed:>8.1%} {worst:>8.2%} "
            f"{twin:>20} {curves[name]['cpu_s']:>7.0f}"
        )
    return everything_inside


def draw(curves: dict[str, dict[str, object]], title: str) -> None:
    """The picture of the smoothed curves and the band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    smooth = {name: smoothed(curve["losses"]) for name, curve in curves.items()}  # type: ignore[arg-type]
    seeds = np.stack([smooth[run.name] for run in REFERENCES])
    steps = np.arange(SMOOTHED_OVER, SMOOTHED_OVER + seeds.shape[1])
    figure, axes = pyplot.subplots(figsize=(8, 4), dpi=90)
    axes.fill_between(steps, seeds.min(axis=0), seeds.max(axis=0), color="0.8", label="between three float32 seeds")
    axes.plot(steps, seeds[0], color="0.45", linewidth=1, label="float32, the bf16 runs' own seed")
    for run, colour in zip(TRIALS, ("tab:blue", "tab:orange"), strict=True):
        axes.plot(steps, smooth[run.name], color=colour, linewidth=1.2, label=run.name)
    axes.set(xlabel="step", ylabel=f"loss, mean over {SMOOTHED_OVER} steps")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(PICTURE)
    print(f"wrote {PICTURE.relative_to(REPOSITORY)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, required=True, help="train.rec of aligned faces")
    parser.add_argument("--num-classes", type=int, required=True, help="identities in it")
    parser.add_argument("--folder", type=Path, required=True, help="where the curves are kept")
    parser.add_argument("--side", type=int, default=112, help="pixels; 56 costs a quarter of 112")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--picture", action="store_true", help="draw docs/pictures/bf16-parity.png")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    runs = [*REFERENCES, *TRIALS]
    paths = [args.folder / f"{args.device}-{args.side}-{number}.json" for number in range(len(runs))]
    if args.run is not None:
        curve = train(runs[args.run], args.records, args.num_classes, args.side, args.device, args.steps)
        paths[args.run].write_text(json.dumps(curve))
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        if not path.exists():
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--run", str(number)], check=True)
    curves = {run.name: json.loads(path.read_text()) for run, path in zip(runs, paths, strict=True)}
    title = f"y1's blocks at {args.side}x{args.side}, arcface s = 64, {args.num_classes} people, {args.device}"
    print(title)
    everything_inside = report(curves)
    if args.picture:
        draw(curves, title)
    print("all inside" if everything_inside else "NOT all inside")
    return 0 if everything_inside else 1


if __name__ == "__main__":
    sys.exit(main())
