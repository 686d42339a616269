"""Accuracy on people never trained on against training time: y1 by ours, float32 and bf16, and by 2019's way on MXNet.

    for side in prepare mxface bf16 mxnet judge; do
        .venv/bin/python bench/unseen_people.py --folder /tmp/unseen --side $side
    done

Data: the aligned LFW of $MXFACE_ASSETS. People with five images or more are trained on, people with two to four make
the pairs. All sides start from the same parameters and see the same batches in the same order with the same SGD; each
stops after `--minutes` on two cores and drops its learning rate to a tenth at 80 % of them. Minutes are CPU seconds of
the training process (user and system) over 120, so that other load on the machine does not count; to the same end each
side trains in one thread (two made an image dearer by a sixth to a fifth, on every side). Nothing is judged while it
trains: `judge` runs every saved model through the product's verification and draws the picture.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from harness import REPOSITORY, mxnet_python

ASSETS = Path(os.environ.get("MXFACE_ASSETS", REPOSITORY.parent / "shared" / "assets"))
PICTURE = REPOSITORY / "docs" / "pictures" / "unseen-people.png"
NAMES = {"mxface": "mxface, float32", "bf16": "mxface, bf16", "mxnet": "MXNet 1.9.1, 2019's way"}
COLOURS = {"mxface": "tab:blue", "bf16": "tab:orange", "mxnet": "tab:gray"}
EVERY = {"mxface": 110, "bf16": 140, "mxnet": 16}  # batches between models: about 20 of them a side

MIN_TRAIN_IMAGES = 5
FOLDS, PAIRS_A_FOLD = 10, 300
CORES = 2
BATCH_SIZE, LR, MOMENTUM, WD, SEED = 32, 0.1, 0.9, 0.0005, 0
DROP_AT = 0.8
NETWORK, LOSS, DATASET, PAIRS = "y1", "cosface16", "lfw5", "unseen"
CONFIG = f"""
dataset.{DATASET} = edict()
dataset.{DATASET}.dataset = "{DATASET}"
dataset.{DATASET}.dataset_path = "data"
dataset.{DATASET}.image_shape = (112, 112, 3)
dataset.{DATASET}.val_targets = []
"""


class Moment(NamedTuple):
    """When a model was saved, since the first batch."""

    number: int
    cpu_s: float
    wall_s: float


# ---------------------------------------------------------------------------------------------------- data


def prepare(folder: Path) -> None:
    """`data/` with records and pairs, config.py, and the parameters that every side starts from."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    counts = unpack(folder)
    unseen = {name: count for name, count in counts.items() if 2 <= count < MIN_TRAIN_IMAGES}
    pairs = make_pairs(unseen, random.Random(SEED))
    (data / "pairs.txt").write_text("\n".join([f"{FOLDS}\t{PAIRS_A_FOLD}", *pairs, ""]))
    with (data / "train.lst").open("w") as output:
        tool("src/data/dir2lst.py", folder / "train", stdout=output)
    tool("src/data/face2rec2.py", data / "train", "--image-size", "112,112")
    target = data / f"{PAIRS}.bin"
    tool("src/data/lfw2pack.py", "--data-dir", folder / "unseen", "--pairs", data / "pairs.txt", "--output", target)
    (folder / "config.py").write_text((REPOSITORY / "sample_config.py").read_text() + CONFIG)
    save_start(folder)


def unpack(folder: Path) -> dict[str, int]:
    """Files under train/PERSON/ and unseen/PERSON/; returns each person's number of images."""
    with tarfile.open(ASSETS / "lfw" / "lfw-112x112.tar.gz") as archive:
        people: dict[str, list[tarfile.TarInfo]] = defaultdict(list)
        for member in archive.getmembers():
            if member.isfile() and member.name.endswith(".jpg"):
                people[Path(member.name).parent.name].append(member)
        for name, members in people.items():
            if len(members) < 2:
                continue
            target = folder / ("train" if len(members) >= MIN_TRAIN_IMAGES else "unseen") / name
            target.mkdir(parents=True, exist_ok=True)
            for member in members:
                content = archive.extractfile(member)
                assert content is not None
                (target / Path(member.name).name).write_bytes(content.read())
    return {name: len(members) for name, members in people.items()}


def make_pairs(people: dict[str, int], rng: random.Random) -> list[str]:
    """Lines of pairs.txt, fold after fold, half of each fold the same person; nobody is in two folds."""
    names = sorted(people)
    rng.shuffle(names)
    lines = []
    for fold in range(FOLDS):
        members = names[fold::FOLDS]
        same = [(name, *two) for name in members for two in combinations(range(1, people[name] + 1), 2)]
        lines += [f"{name}\t{first}\t{second}" for name, first, second in rng.sample(same, PAIRS_A_FOLD // 2)]
        strangers = rng.sample(list(combinations(members, 2)), PAIRS_A_FOLD // 2)
        for one, other in strangers:
            first, second = (rng.randint(1, people[name]) for name in (one, other))
            lines.append(f"{one}\t{first}\t{other}\t{second}")
    return lines


def tool(*words: str | Path, stdout: Any = None) -> None:
    """One of the repository's commands."""
    subprocess.run([sys.executable, *map(str, words)], cwd=REPOSITORY, stdout=stdout, check=True)


def save_start(folder: Path) -> None:
    """`start-0000.params` and `start-symbol.json`, loss included: train.py's own beginning, for MXNet's."""
    import torch

    from mxface.ranks import Ranks
    from mxface.recognition.arguments import parse_arguments
    from mxface.recognition.inputs import find_num_classes
    from mxface.recognition.model import add_head, build_embedding, build_learner, save_model

    run = parse_arguments(train_flags(folder), description="").run
    num_classes = find_num_classes(run.data)
    embedding = build_embedding(run)
    whole = add_head(embedding, run, num_classes)
    ranks = Ranks.single()
    learner = build_learner(run, embedding, whole, num_classes, None, torch.device("cpu"), ranks)
    save_model(folder / "start", 0, symbol=whole, learner=learner, ranks=ranks)


# ------------------------------------------------------------------------------------------------ training


def train_flags(folder: Path) -> list[str]:
    """The flags of recognition/train.py that all its runs share."""
    return [
        *("--config", str(folder / "config.py"), "--network", NETWORK, "--loss", LOSS, "--dataset", DATASET),
        *("--per-batch-size", str(BATCH_SIZE), "--lr", str(LR), "--mom", str(MOMENTUM), "--wd", str(WD)),
        *("--seed", str(SEED), "--ckpt", "2", "--state-steps", "0"),
    ]


def train_mxface(folder: Path, side: str, every: int, budget_s: float, threads: int) -> tuple[Path, list[Moment]]:
    """The real command, stopped once to drop the rate (`--resume` goes on), so that no speed has to be foreseen."""
    models = folder / side
    command = [sys.executable, "-u", "recognition/train.py", *train_flags(folder), "--models-root", str(models)]
    command += ["--verbose", str(every), "--threads", str(threads), "--dtype", "bf16" if side == "bf16" else "float32"]
    log = folder / f"{side}.log"
    never = str(10**9)
    moments = watch([*command, "--lr-steps", never], log, threads, stop_s=DROP_AT * budget_s)
    dropped = str(moments[-1].number * every)
    before = moments[-1]
    for moment in watch([*command, "--lr-steps", dropped, "--resume"], log, threads, stop_s=budget_s - before.cpu_s):
        moments.append(Moment(moment.number, before.cpu_s + moment.cpu_s, before.wall_s + moment.wall_s))
    return models / f"{NETWORK}-{LOSS}-{DATASET}" / "model", moments


def train_mxnet(folder: Path, every: int, budget_s: float, threads: int) -> tuple[Path, list[Moment]]:
    """`mxnet_worker` in the interpreter that has MXNet."""
    python = mxnet_python()
    if python is None:
        raise SystemExit("no interpreter with MXNet here: make .venv-mxnet")
    command = [str(python), "-u", __file__, "--folder", str(folder), "--side", "mxnet-worker"]
    command += ["--every", str(every), "--minutes", str(budget_s / CORES / 60), "--threads", str(threads)]
    (folder / "mxnet").mkdir(exist_ok=True)
    return folder / "mxnet" / "model", watch(command, folder / "mxnet.log", threads, stop_s=budget_s)


def watch(command: Sequence[str], log: Path, threads: int, *, stop_s: float) -> list[Moment]:
    """Run until the first model saved at `stop_s` CPU seconds or later, then SIGTERM; every model's moment.

    Both sides say `call reset()` before an epoch's first batch and `saving N`; importing and loading are not counted.
    """
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    env |= {"OMP_WAIT_POLICY": "passive", "MXNET_SUBGRAPH_BACKEND": "NONE", "CUDA_VISIBLE_DEVICES": ""}
    moments: list[Moment] = []
    start: tuple[float, float] | None = None
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=errors, flush=True)
            if line.startswith("call reset()") and start is None:
                start = cpu_seconds(process.pid), time.perf_counter()
            elif line.startswith("saving ") and start is not None:
                cpu, wall = cpu_seconds(process.pid) - start[0], time.perf_counter() - start[1]
                moments.append(Moment(int(line.split()[1]), cpu, wall))
                if cpu >= stop_s:
                    process.send_signal(signal.SIGTERM)
                    stop_s = float("inf")  # a second SIGTERM would not wait for the state
        process.wait()
    if stop_s != float("inf"):
        raise SystemExit(f"{command[2]} ended early with status {process.returncode}; see {log}")
    return moments


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its children that have ended included."""
    import psutil

    times = psutil.Process(pid).cpu_times()
    return times.user + times.system + times.children_user + times.children_system  # type: ignore[no-any-return]


def mxnet_worker(folder: Path, every: int, budget_s: float, threads: int) -> None:
    """2019's way: Module on the loss graph with one-hot labels, an SGD that decays everything, the loss fetched."""
    import mxnet as mx

    from mxface.loaders import RecordDataset, TrainLoader

    whole, arguments, states = mx.model.load_checkpoint(str(folder / "start"), 0)
    embedding = whole.get_internals()["fc1_output"]
    module = mx.mod.Module(whole, data_names=["data"], label_names=["softmax_label"], context=mx.cpu())
    module.bind([("data", (BATCH_SIZE, 3, 112, 112))], [("softmax_label", (BATCH_SIZE,))])
    module.init_params(arg_params=arguments, aux_params=states, initializer=None)
    optimizer = mx.optimizer.SGD(learning_rate=LR, momentum=MOMENTUM, wd=WD, rescale_grad=1.0)
    module.init_optimizer(kvstore="device", optimizer=optimizer)
    dataset = RecordDataset(folder / "data" / "train.rec")
    loader = TrainLoader(dataset, batch_size=BATCH_SIZE, seed=SEED, rand_mirror=True, threads=threads)
    losses: list[float] = []
    print("call reset()")
    start = time.process_time()
    for step, batch in enumerate(all_batches(loader), start=1):
        images = mx.nd.array(batch.data.transpose(0, 3, 1, 2), dtype="float32")
        module.forward_backward(mx.io.DataBatch(data=[images], label=[mx.nd.array(batch.label)]))
        module.update()
        losses.append(float(module.get_outputs()[-1].asnumpy().item()))
        if step % 20 == 0:
            print(f"step {step} lossvalue={sum(losses[-20:]) / 20:.6f}", file=sys.stderr, flush=True)
        if step % every == 0:
            mx.nd.waitall()  # BatchNorm's backward writes the moving statistics unseen by get_params
            arguments, states = module.get_params()
            kept = {name: arguments[name] for name in embedding.list_arguments() if name in arguments}
            mx.model.save_checkpoint(str(folder / "mxnet" / "model"), step // every, embedding, kept, states)
            print(f"saving {step // every}")
            if time.process_time() - start >= DROP_AT * budget_s:
                optimizer.set_learning_rate(LR / 10)


def all_batches(loader: Any) -> Iterator[Any]:
    """Epoch after epoch."""
    epoch = 0
    while True:
        yield from loader.epoch(epoch)
        epoch += 1


# ----------------------------------------------------------------------------------------------- judgement


def judge(folder: Path, every: int) -> None:
    """Accuracy of every such saved model, counted from the last, with the mirrored picture; then the picture."""
    from mxface.eval.protocol import load_pair_set, pixel_embedder, verify
    from mxface.runtime import choose_device, load_predictor, make_embedder

    pairs = load_pair_set(folder / "data" / f"{PAIRS}.bin", (112, 112))
    pixels = verify(pixel_embedder(), pairs).acc2
    print(f"{len(pairs.issame)} pairs, plain pixels: {pixels:.4f}")
    curves = {}
    for side in NAMES:
        path = folder / f"{side}.json"
        if not path.is_file():
            continue
        curves[side] = curve = json.loads(path.read_text())
        for model in curve["models"][::-every]:
            if "accuracy" not in model:
                predictor = load_predictor(
                    curve["prefix"], model["number"], outputs=["fc1_output"], device=choose_device(-1)
                )
                model["accuracy"] = verify(make_embedder(predictor, output="fc1_output"), pairs).acc2
                path.write_text(json.dumps(curve, indent=1))
            line = f"{side:<7} {minutes(model):5.1f} min {model['images']:>7} images  {model['accuracy']:.4f}"
            print(line, flush=True)
    draw(curves, pixels)


def minutes(model: dict[str, Any]) -> float:
    """On two cores."""
    return float(model["cpu_s"]) / CORES / 60


def draw(curves: dict[str, Any], pixels: float) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=100)
    for side, curve in curves.items():
        last = curve["models"][-1]
        label = f"{NAMES[side]}: {last['images']:,} images seen in {minutes(last):.0f} min"
        judged = [model for model in curve["models"] if "accuracy" in model]
        x, y = [minutes(model) for model in judged], [model["accuracy"] for model in judged]
        axes.plot(x, y, marker="o", markersize=3, color=COLOURS[side], label=label)
    axes.axhline(pixels, linestyle=":", color="black", label="plain pixels, no training")
    axes.set(xlabel="training time on 2 CPU cores (CPU minutes / 2)", ylabel="accuracy on pairs of unseen people")
    axes.set_xlim(left=0)
    axes.set_title("y1 trained on LFW's people with 5 or more images", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(PICTURE)
    print(f"wrote {PICTURE}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="working folder: data, models, times")
    parser.add_argument("--side", required=True, choices=["prepare", *NAMES, "judge", "mxnet-worker"])
    parser.add_argument("--minutes", type=float, default=20, help="training time on two cores")
    parser.add_argument(
        "--every",
        type=int,
        help="batches between saved models (default: about 20 models in 20 min); judge: judge one model in so many",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that train, out of the same CPU seconds")
    args = parser.parse_args()
    folder, budget_s = args.folder.resolve(), args.minutes * 60 * CORES
    if args.side == "prepare":
        prepare(folder)
    elif args.side == "judge":
        judge(folder, args.every or 1)
    elif args.side == "mxnet-worker":
        mxnet_worker(folder, args.every, budget_s, args.threads)
    else:
        every = args.every or EVERY[args.side]
        if args.side == "mxnet":
            prefix, moments = train_mxnet(folder, every, budget_s, args.threads)
        else:
            prefix, moments = train_mxface(folder, args.side, every, budget_s, args.threads)
        models = [
            {**moment._asdict(), "step": moment.number * every, "images": moment.number * every * BATCH_SIZE}
            for moment in moments
        ]
        curve = {"side": args.side, "prefix": str(prefix), "threads": args.threads, "models": models}
        (folder / f"{args.side}.json").write_text(json.dumps(curve, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
