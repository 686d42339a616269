"""Does bfloat16 change what a run learns? Loss curves of bf16 runs against the spread of three float32 seeds.

    .venv/bin/python bench/bench_bf16_parity.py --records DIR/train.rec --num-classes 423 --folder /tmp/parity

Every run is MobileFaceNet with 2019's blocks for y1 from scratch, arcface at s = 64 (where the products of the head
lose most), SGD at lr 0.1, batch 32, 300 steps, on records of faces: any data set of mxface's will do. Seeds 0, 1 and 2
decide the start, the order of the images and the mirroring, in float32 and in bf16 alike. One process a run, so that a
broken-off comparison goes on where it was; a run that is in the folder already is not repeated.

Curves are smoothed over 25 steps. How far does a float32 run stray from the band of the two other float32 seeds? And
the bf16 run of the same seed, from the same two? bf16 passes where its three runs stray no farther than the three
float32 runs, on average and at worst. (Three runs make a narrow band: a fourth of the same kind is outside half of the
time, so "inside the band" alone would be asked of a coin.) The last column is the distance from the float32 run of the
same seed, in units of the distance between seeds; `nudged`, float32 from a start that differs by a thousandth, shows
what any change of rounding does to a chaotic training. The mean curves against the band of all three close the table.
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
from learners import endless_config, start_params

PICTURE = REPOSITORY / "docs" / "pictures" / "bf16-parity.png"
STEPS, BATCH_SIZE, LR, MOMENTUM, WD = 300, 32, 0.1, 0.9, 0.0005
SEEDS = (0, 1, 2)
SMOOTHED_OVER = 25
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
    from mxface.train.guard import require_finite_loss
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
    rng = np.random.default_rng(run.seed)
    params = start_params(embedding, "fmobilefacenet", rng, side)
    if run.nudge:
        for name, value in params.items():
            params[name] = value * (1 + np.float32(run.nudge) * rng.standard_normal(value.shape, np.float32))
    config = endless_config(
        batch_size=BATCH_SIZE,
        lr=LR,
        wd=WD,
        mom=MOMENTUM,
        seed=run.seed,
        dtype=run.dtype,
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

    def straying(self, curve: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        """How far, in shares of the loss, a curve is outside the band of the two other float32 seeds."""
        others = np.delete(self.seeds, seed, axis=0)
        return outside(curve, others.min(axis=0), others.max(axis=0))

    def last(self, runs: list[Run]) -> float:
        """The mean loss of the last 50 steps."""
        return float(np.mean([self.runs[run.key]["losses"][-50:] for run in runs]))  # type: ignore[index]


def outside(curve: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to a band in shares of the curve; 0 inside."""
    return np.maximum(np.maximum(low - curve, curve - high), 0) / curve


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """Means over SMOOTHED_OVER steps."""
    return np.convolve(losses, np.full(SMOOTHED_OVER, 1 / SMOOTHED_OVER), mode="valid")


def line(name: str, last: float, strayed: NDArray[np.float64], twin: str = "") -> str:
    """A line of the table."""
    return (
        f"{name:<40} {last:>8.3f} {(strayed == 0).mean():>8.1%} {strayed.mean():>8.2%} {strayed.max():>8.2%} {twin:>10}"
    )


def report(curves: Curves) -> bool:
    """Print the table; whether bf16 strays no farther than float32."""
    print(f"float32 seeds differ by {curves.between_seeds:.3f} on average; from the band of the two other seeds:")
    print(f"{'run':<40} {'last 50':>8} {'inside':>8} {'strays':>8} {'worst':>8} {'twin':>10}")
    groups = {"float32": REFERENCES, "nudged": [NUDGED], **TRIALS}
    strayed = {}
    for name, runs in groups.items():
        for run in runs:
            curve, twin = curves.smooth[run.key], np.abs(curves.smooth[run.key] - curves.seeds[run.seed]).mean()
            to_twin = "" if run in REFERENCES else f"{twin / curves.between_seeds:.2f}"
            print(line(run.key, curves.last([run]), curves.straying(curve, run.seed), to_twin))
        strayed[name] = np.stack([curves.straying(curves.smooth[run.key], run.seed) for run in runs])
    print("together:")
    for name, runs in groups.items():
        print(line(name, curves.last(runs), strayed[name]))
    print("mean curves, from the band of all three:")
    for name, runs in TRIALS.items():
        mean = curves.mean_of(runs)
        above = outside(mean, np.zeros_like(mean), curves.high).max()
        print(
            line(name, curves.last(runs), outside(mean, curves.low, curves.high)) + f" (above it at most {above:.2%})"
        )
    reference = strayed["float32"]
    return all(strayed[name].mean() <= reference.mean() and strayed[name].max() <= reference.max() for name in TRIALS)


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
    passes = report(curves)
    if args.picture:
        draw(curves, title)
    print("bf16 strays no farther than float32" if passes else "bf16 strays FARTHER than float32")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
