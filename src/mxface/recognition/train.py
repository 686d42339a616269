"""Train a face recognition network: the command `recognition/train.py`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mxface.cli import command, setup_logging
from mxface.errors import ConfigError, DataError
from mxface.eval.protocol import PairSet, load_pair_set
from mxface.formats.dataset_property import read_property
from mxface.graph import load_checkpoint
from mxface.graph.flops import count_flops, flops_text
from mxface.loaders import RecordDataset, TrainLoader
from mxface.recognition.arguments import parse_arguments
from mxface.recognition.config import DataConfig, RunConfig
from mxface.recognition.model import add_head, build_embedding, build_learner, find_pretrained, save_model
from mxface.train.checkpoint import ALWAYS, NEVER, SaveRule
from mxface.train.device import choose_device, usable_cpus
from mxface.train.guard import StopSignals
from mxface.train.judge import Judge
from mxface.train.log import BatchReport, RunLog
from mxface.train.loop import fit
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.state import StateFolder

log = logging.getLogger(__name__)

DESCRIPTION = """\
Train a face recognition network on <dataset_path>/train.rec and verify it on the .bin sets beside it.

  CUDA_VISIBLE_DEVICES='0' python -u train.py --network r100 --loss arcface --dataset emore
  CUDA_VISIBLE_DEVICES='' python -u train.py --network y1 --loss cosface16 --dataset orl     # small data, on the CPU

Settings come from config.py (a copy of sample_config.py); --network, --loss and --dataset name entries in it.
Output: <models-root>/<network>-<loss>-<dataset>/ with model-symbol.json, model-NNNN.params, state/ and tensorboard/."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    setup_logging()
    arguments = parse_arguments(argv, description=DESCRIPTION)
    run = arguments.run
    device = choose_device(run.device, say=print)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.train.seed)
    print("prefix", run.prefix)
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    num_classes = find_num_classes(run.data)
    print("image_size", run.data.image_shape[:2])
    print("num_classes", num_classes)
    print("Called with argument:", arguments.flags, arguments.settings)
    with logging_redirect_tqdm(), StopSignals() as stop:
        train(run, num_classes, device, stop)
    if stop.received is None:
        return 0
    print(f"stopped by {stop.received.name}; --resume goes on from here")
    return 128 + stop.received


def train(run: RunConfig, num_classes: int, device: torch.device, stop: StopSignals) -> None:
    """Build everything and train."""
    embedding = build_embedding(run)
    whole = add_head(embedding, run, num_classes)
    pretrained = None
    if run.pretrained:
        prefix, epoch = find_pretrained(run.pretrained, run.pretrained_epoch)
        print("loading", prefix, epoch)
        pretrained = load_checkpoint(prefix, epoch)
    learner = build_learner(run, embedding, whole, num_classes, pretrained, device)
    if run.count_flops:
        height, width, channels = run.data.image_shape
        print("Network FLOPs:", flops_text(count_flops(embedding, data=(1, channels, height, width))))
    loader = build_loader(run)
    pair_sets = load_pair_sets(run.data)
    warn_if_nothing_is_saved(run, pair_sets)

    progress, rule = Progress(), SaveRule(ckpt=run.train.ckpt)
    identity = {"seed": run.train.seed, "num_images": loader.dataset.num_images}
    states = StateFolder(run.prefix.parent / "state")
    state = RunState(states, learner, progress, rule, identity)
    if run.resume:
        path = state.resume()
        print(f"resumed from {path}" if path else f"no training state beside {run.prefix}: starting at the beginning")
    elif states.list_states():
        log.warning("%s is of an earlier run and will be replaced; --resume goes on from it", states.folder)
    folder = run.prefix.parent / "tensorboard"
    with RunLog(tqdm.write, folder, first_step=progress.step, max_steps=run.train.max_steps) as run_log:
        saved = embedding if run.ckpt_embedding else whole
        save = partial(save_model, run.prefix, symbol=saved, learner=learner)
        judge = Judge(learner, pair_sets, rule, save, batch_size=run.train.batch_size, log=run_log)
        report = BatchReport(
            run_log,
            batch_size=run.train.batch_size,
            frequent=run.train.frequent,
            with_lossvalue=run.loss.ce_loss,
        )
        fit(learner, loader, run.train, progress=progress, judge=judge, state=state, report=report, stop=stop)


def find_num_classes(data: DataConfig) -> int:
    """The number in the data set's `property`; the config's where there is no such file."""
    path = data.dataset_path / "property"
    if path.is_file():
        found = read_property(path).num_classes
        if data.num_classes not in (None, found):
            print(f"num_classes: {found} by {path}, not the config's {data.num_classes}")
        return found
    if data.num_classes is None:
        raise ConfigError(f"num_classes is not set, and there is no {path}; set it in the config's dataset entry")
    return data.num_classes


def build_loader(run: RunConfig) -> TrainLoader:
    """Batches of `train.rec`, with 2019's lines about it."""
    data = run.data
    path = data.dataset_path / "train.rec"
    if not path.is_file():
        raise DataError(f"{path}: no such file; pack the images with src/data/face2rec2.py, or change dataset_path")
    dataset = RecordDataset(path, images_filter=data.data_images_filter)
    for line in dataset.describe():
        print(line)
    print("rand_mirror", data.data_rand_mirror)
    height, width, channels = data.image_shape
    return TrainLoader(
        dataset,
        batch_size=run.train.batch_size,
        image_shape=(height, width, channels),
        seed=run.train.seed,
        rand_mirror=data.data_rand_mirror,
        cutoff=data.data_cutoff,
        color=data.data_color,
        threads=run.threads or usable_cpus(),
    )


def load_pair_sets(data: DataConfig) -> list[PairSet]:
    """The validation sets that lie beside the records; as in 2019, others are passed over."""
    height, width, _ = data.image_shape
    pair_sets = []
    for name in data.val_targets:
        path = data.dataset_path / f"{name}.bin"
        if path.is_file():
            pair_sets.append(load_pair_set(path, (height, width), say=print))
            print("ver", name)
    return pair_sets


def warn_if_nothing_is_saved(run: RunConfig, pair_sets: Sequence[PairSet]) -> None:
    """Say before the first batch, rather than never, that no model file will come of this run."""
    if not pair_sets and run.train.ckpt not in (NEVER, ALWAYS):
        names = ", ".join(f"{name}.bin" for name in run.data.val_targets)
        log.warning(
            "none of %s in %s: --ckpt %d saves no model; 2 saves always", names, run.data.dataset_path, run.train.ckpt
        )
    if 0 < run.train.max_steps < run.train.verbose - 1:
        log.warning("--verbose %d is beyond max_steps %d: no model is saved", run.train.verbose, run.train.max_steps)


if __name__ == "__main__":
    sys.exit(main())
