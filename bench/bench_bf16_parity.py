"""Does bfloat16 change what a run learns? Loss curves of bf16 runs against the spread of three float32 seeds.

    .venv/bin/python bench/bench_bf16_parity.py --records DIR/train.rec --num-classes 423 --folder /tmp/parity

Every run is MobileFaceNet with 2019's blocks for y1 from scratch, arcface at s = 64 (where the products of the head
lose most), SGD at lr 0.1, batch 32, 300 steps, on records of faces: any data set of mxface's will do. Seeds 0, 1 and 2
decide the start, the order of the images and the mirroring, in float32 and in bf16 alike. One process a run, so that a
broken-off comparison goes on where it was; a run that is in the folder already is not repeated.

Curves are smoothed over 25 steps. The band lies between the smallest and the largest float32 curve. A single fourth
float32 run would leave it half of the time, so what is judged is the mean of the three bf16 runs, against the band
widened by 2 % of the loss (TOLERANCE). Training is chaotic: `nudged` is float32, seed 0, from a start that differs by a
thousandth. The last column is how far a run is from the float32 run of its seed, in units of the distance between
seeds: bfloat16 does no more than a nudge does where the two figures agree.
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
SEEDS = (0, 1, 2)
SMOOTHED_OVER = 25
TOLERANCE = 0.02
BLOCKS_OF_Y1 = (1, 4, 6, 2)


class Run(NamedTuple):
    """One training: precision of the backbone and of the head's products; a relative change of the start."""

    dtype: str
    head_dtype: str
    seed: int
    nudge: float = 0.0

    @property
    def key(self) -> str:
        """For file names."""
        return f"{self.dtype}-{self.head_dtype}-{self.seed}" + ("-nudged" if self.nudge else "")


REFERENCES = [Run("float32", "float32", seed) for seed in SEEDS]
NUDGED = Run("float32", "float32", 0, nudge=1e-3)
TRIALS = {
    "--head-dtype bf16": [Run("float32", "bf16", seed) for seed in SEEDS],
    "--dtype bf16 --head-dtype bf16": [Run("bf16", "bf16", seed) for seed in SEEDS],
}
RUNS = [*REFERENCES, NUDGED, *(run for runs in TRIALS.values() for run in runs)]


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
    rng = np.random.default_rng(run.seed)
    params = init_params(embedding, shapes, "fmobilefacenet", rng)
    if run.nudge:
        for name, value in params.items():
            params[name] = value * (1 + np.float32(run.nudge) * rng.standard_normal(value.shape, np.float32))
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
            print(f"{run.key}: step {step}, loss {np.mean(losses[-50:]):.3f}", file=sys.stderr, flush=True)
    return {"losses": losses, "cpu_s": time.process_time() - started}


class Curves:
    """The smoothed losses by run."""

    def __init__(self, runs: dict[str, dict[str, object]]) -> None:
        self.runs = runs
        self.smooth = {key: smoothed(run["losses"]) for key, run in runs.items()}  # type: ignore[arg-type]
        self.seeds = np.stack([self.smooth[run.key] for run in REFERENCES])
        self.low, self.high = self.seeds.min(axis=0), self.seeds.max(axis=0)
        self.between_seeds = np.mean(
            [np.abs(self.seeds[i] - self.seeds[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
        )

    def mean_of(self, runs: list[Run]) -> NDArray[np.float64]:
        """The mean curve of three seeds."""
        return np.mean([self.smooth[run.key] for run in runs], axis=0)

    def line(self, name: str, curve: NDArray[np.float64], last: float, to_twin: float | None) -> str:
        """A line of the table."""
        inside = ((curve >= self.low) & (curve <= self.high)).mean()
        allowed = self.is_allowed(curve).mean()
        worst = np.maximum(np.maximum(self.low - curve, curve - self.high) / curve, 0).max()
        twin = "-" if to_twin is None else f"{to_twin / self.between_seeds:.2f}"
        return f"{name:<40} {last:>8.3f} {inside:>8.1%} {allowed:>8.1%} {worst:>8.2%} {twin:>14}"

    def is_allowed(self, curve: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where a curve lies in the widened band."""
        return (curve >= self.low * (1 - TOLERANCE)) & (curve <= self.high * (1 + TOLERANCE))


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """Means over SMOOTHED_OVER steps."""
    return np.convolve(losses, np.full(SMOOTHED_OVER, 1 / SMOOTHED_OVER), mode="valid")


def report(curves: Curves) -> bool:
    """Print the table; whether the mean curves of the bf16 runs stay in the band."""
    print(f"float32 seeds differ by {curves.between_seeds:.3f} on average")
    print(f"{'run':<40} {'last 50':>8} {'in band':>8} {'allowed':>8} {'worst':>8} {'from its twin':>14}")
    for run in RUNS:
        curve, twin = curves.smooth[run.key], curves.smooth[REFERENCES[run.seed].key]
        last = float(np.mean(curves.runs[run.key]["losses"][-50:]))  # type: ignore[index]
        print(curves.line(run.key, curve, last, None if run in REFERENCES else float(np.abs(curve - twin).mean())))
    everything_inside = True
    for name, runs in {"float32": REFERENCES, **TRIALS}.items():
        curve = curves.mean_of(runs)
        last = float(np.mean([curves.runs[run.key]["losses"][-50:] for run in runs]))  # type: ignore[index]
        print(curves.line(f"mean of {name}", curve, last, None))
        everything_inside &= bool(curves.is_allowed(curve).all())
    return everything_inside


def draw(curves: Curves, title: str) -> None:
    """The picture of the mean curves and the band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = np.arange(SMOOTHED_OVER, SMOOTHED_OVER + curves.seeds.shape[1])
    figure, axes = pyplot.subplots(figsize=(8, 4), dpi=90)
    axes.fill_between(steps, curves.low, curves.high, color="0.8", label="between three float32 seeds")
    for (name, runs), colour in zip(TRIALS.items(), ("tab:blue", "tab:orange"), strict=True):
        for run in runs:
            axes.plot(steps, curves.smooth[run.key], color=colour, linewidth=0.5, alpha=0.6)
        axes.plot(steps, curves.mean_of(runs), color=colour, linewidth=1.5, label=f"{name}: three seeds and their mean")
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
    paths = [args.folder / f"{args.device}-{args.side}-{run.key}.json" for run in RUNS]
    if args.run is not None:
        curve = train(RUNS[args.run], args.records, args.num_classes, args.side, args.device, args.steps)
        paths[args.run].write_text(json.dumps(curve))
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        if not path.exists():
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--run", str(number)], check=True)
    curves = Curves({run.key: json.loads(path.read_text()) for run, path in zip(RUNS, paths, strict=True)})
    title = f"y1's blocks at {args.side}x{args.side}, arcface s = 64, {args.num_classes} people, {args.device}"
    print(title)
    everything_inside = report(curves)
    if args.picture:
        draw(curves, title)
    print("all inside" if everything_inside else "NOT all inside")
    return 0 if everything_inside else 1


if __name__ == "__main__":
    sys.exit(main())
