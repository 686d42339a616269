"""Train a face recognition network: the command `recognition/train.py`."""

from __future__ import annotations

import contextlib
import logging
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mxface.cli import command, setup_logging
from mxface.cpus import usable_cpus
from mxface.errors import ConfigError, DataError
from mxface.eval.protocol import PairSet, load_pair_set
from mxface.formats.dataset_property import read_property
from mxface.graph import Symbol, load_checkpoint
from mxface.graph.flops import count_flops, flops_text
from mxface.loaders import RecordDataset, TrainLoader
from mxface.losses.softmax_head import SHARDED
from mxface.losses.triplet_mining import MiningConfig, TripletBags
from mxface.ranks import Ranks
from mxface.recognition.arguments import Arguments, parse_arguments
from mxface.recognition.config import DataConfig, RunConfig
from mxface.recognition.model import add_head, build_embedding, build_learner, find_pretrained, save_model
from mxface.train.checkpoint import ALWAYS, NEVER, SaveRule
from mxface.train.device import choose_device
from mxface.train.guard import StopSignals
from mxface.train.judge import Judge
from mxface.train.launcher import is_launched, launch, same_command, telling_the_launcher
from mxface.train.learner import Trainee
from mxface.train.log import BatchReport, RunLog
from mxface.train.loop import Batches, fit
from mxface.train.process_group import Place, find_place, joined, log_as_rank, quiet, require_agreement
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.state import StateFolder
from mxface.train.triplet_rounds import TripletRounds

log = logging.getLogger(__name__)

MODULE = "mxface.recognition.train"
DESCRIPTION = """\
Train a face recognition network on <dataset_path>/train.rec and verify it on the .bin sets beside it.

  CUDA_VISIBLE_DEVICES='0,1,2,3' python -u train.py --network r100 --loss arcface --dataset emore
  CUDA_VISIBLE_DEVICES='' python -u train.py --network y1 --loss cosface16 --dataset orl     # small data, on the CPU

  torchrun --nproc-per-node 4 train.py --network r100 --loss arcface --dataset emore     # also on many machines

Settings come from config.py (a copy of sample_config.py); --network, --loss and --dataset name entries in it.
Output: <models-root>/<network>-<loss>-<dataset>/ with model-symbol.json, model-NNNN.params, state/ and tensorboard/."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return train_on_ranks(argv, MODULE, partial(parse_arguments, description=DESCRIPTION))


def train_on_ranks(argv: Sequence[str] | None, module: str, parse: Callable[[Sequence[str] | None], Arguments]) -> int:
    """A training command, `python -m module`: this process is a rank, the only one, or starts several and waits."""
    place = find_place()
    if place is None or place.rank == 0:
        setup_logging()
    else:
        log_as_rank(place.rank)
    with telling_the_launcher():
        with quiet(place is not None and (place.rank > 0 or is_launched())):  # another process says the same
            arguments = parse(argv)
        run = arguments.run
        if place is None and run.ranks > 1 and run.engine == "torch":
            return launch(same_command(argv, module), run.ranks)
        return train_as_rank(arguments, place or Place())


@dataclass(frozen=True, kw_only=True)
class Session:
    """This process in the run; `say` prints on the main rank and is silent on the others.

    `contexts` are MXNet's devices, where MXNet is the engine.
    """

    place: Place
    ranks: Ranks
    device: torch.device
    stop: StopSignals
    say: Callable[..., object]
    contexts: Sequence[Any] = ()


def train_as_rank(arguments: Arguments, place: Place) -> int:
    """This rank's part of the run, from the device to the exit status."""
    run = arguments.run
    say = print if place.rank == 0 else say_nothing
    contexts: list[Any] = []
    if run.engine == "mxnet":
        from mxface.recognition.mxnet_model import spread_over_contexts

        run, contexts = spread_over_contexts(run, say)
    device = torch.device("cpu") if contexts else choose_device(run.device, place, say=say)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.train.seed)
    say("prefix", run.prefix)
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    num_classes = find_num_classes(run.data, say=say)
    say("image_size", run.data.image_shape[:2])
    say("num_classes", num_classes)
    say("Called with argument:", arguments.flags, arguments.settings)
    with (
        joined(place, device, timeout_s=run.rank_timeout) as ranks,
        logging_redirect_tqdm(),
        StopSignals(ranks) as stop,
    ):
        train(run, num_classes, Session(place=place, ranks=ranks, device=device, stop=stop, say=say, contexts=contexts))
    if stop.received is None:
        return 0
    say(f"stopped by {stop.received.name}; --resume goes on from here")
    return 128 + stop.received


def say_nothing(*_words: object) -> None:
    """What a rank says that is not the main one."""


def train(run: RunConfig, num_classes: int, session: Session) -> None:
    """Build everything and train."""
    ranks, say = session.ranks, session.say
    progress, rule = Progress(), SaveRule(ckpt=run.train.ckpt)
    with quiet(not ranks.is_main), contextlib.ExitStack() as stack:
        embedding = build_embedding(run)
        whole = add_head(embedding, run, num_classes, devices=len(session.contexts) or run.ranks)
        learner = start_learner(run, embedding, whole, num_classes, session)
        if run.count_flops:
            height, width, channels = run.data.image_shape
            say("Network FLOPs:", flops_text(count_flops(embedding, data=(1, channels, height, width))))
        loader, place = build_batches(run, learner, session)
        stack.enter_context(contextlib.closing(loader))
        pair_sets = load_pair_sets(run.data, say=say)
        warn_if_nothing_is_saved(run, pair_sets)

        identity = {"seed": run.train.seed, "num_images": loader.dataset.num_images}
        states = StateFolder(run.prefix.parent / "state", ranks)
        setting = {"global_batch": run.train.batch_size, "ranks": ranks.count}
        sharded = {f"head/{name}": num_classes for name in SHARDED}
        state = RunState(states, learner, progress, rule, identity, setting=setting, place=place, sharded=sharded)
        if run.resume:
            resumed = state.resume()
            nothing = f"no training state beside {run.prefix}: starting at the beginning"
            say(resumed.account if resumed else nothing)
            if 0 < run.train.max_steps < progress.step:
                say(f"nothing is left to do: max_steps is {run.train.max_steps}; a larger one in the config trains on")
        elif states.list_states():
            log.warning("%s is of an earlier run and will be replaced; --resume goes on from it", states.folder)
        require_same_start(run, ranks, learner, data=(num_classes, *loader.dataset.keys), place=(progress, rule))
        kept = stack.pop_all()
    folder = run.prefix.parent / "tensorboard" if ranks.is_main else None
    say_line = tqdm.write if ranks.is_main else say_nothing
    with kept, RunLog(say_line, folder, first_step=progress.step, max_steps=run.train.max_steps) as run_log:
        saved = embedding if run.ckpt_embedding else whole
        save = partial(save_model, run.prefix, symbol=saved, learner=learner, ranks=ranks)
        judge = Judge(learner, pair_sets, rule, save, batch_size=run.train.batch_size, log=run_log, ranks=ranks)
        report = BatchReport(
            run_log,
            batch_size=run.train.batch_size,
            frequent=run.train.frequent,
            with_lossvalue=run.loss.ce_loss or run.loss.is_triplet,
            with_accuracy=not run.loss.is_triplet,
            parall_verbose=run.train.verbose if run.parall else 0,
        )
        fit(learner, loader, run.train, progress=progress, judge=judge, state=state, report=report, stop=session.stop)


def start_learner(run: RunConfig, embedding: Symbol, whole: Symbol, num_classes: int, session: Session) -> Trainee:
    """The learner at its start, or at the pretrained model. `whole` is the graph with the head."""
    pretrained = None
    if run.pretrained:
        prefix, epoch = find_pretrained(run.pretrained, run.pretrained_epoch)
        session.say("loading", prefix, epoch)
        pretrained = load_checkpoint(prefix, epoch)
    return build_learner(
        run, embedding, whole, num_classes, pretrained, session.device, session.ranks, contexts=session.contexts
    )


def require_same_start(run: RunConfig, ranks: Ranks, learner: Trainee, *, data: object, place: object) -> None:
    """Raise ConfigError on every rank where some start from something else than the main one."""
    if ranks.count == 1:
        return
    # without what a machine may have its own way
    data_config = replace(run.data, dataset_path=Path())
    settings = replace(run, data=data_config, prefix=Path(), pretrained="", threads=0, workers=0)
    sums = {
        name: zlib.crc32(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        for name, tensor in learner.tensors().items()
        if name.startswith("backbone/")
    }
    require_agreement(
        ranks,
        settings=settings,
        data_set=data,
        place_in_the_training=place,
        parameters=sums,
    )


def find_num_classes(data: DataConfig, *, say: Callable[..., object] = print) -> int:
    """The number in the data set's `property`; the config's where there is no such file."""
    path = data.dataset_path / "property"
    if path.is_file():
        found = read_property(path).num_classes
        if data.num_classes not in (None, found):
            say(f"num_classes: {found} by {path}, not the config's {data.num_classes}")
        return found
    if data.num_classes is None:
        raise ConfigError(f"num_classes is not set, and there is no {path}; set it in the config's dataset entry")
    return data.num_classes


def build_batches(run: RunConfig, learner: Trainee, session: Session) -> tuple[Batches, dict[str, Tensor]]:
    """What is trained on, and the tensors that belong to the place in it."""
    loader = build_loader(run, session)
    if not run.loss.is_triplet:
        return loader, {}
    rounds = build_rounds(run, loader, learner, session)
    return rounds, rounds.tensors()


def build_rounds(run: RunConfig, loader: TrainLoader, learner: Trainee, session: Session) -> TripletRounds:
    """Rounds of triplets, mined by `learner` from the images that `loader` has."""
    loss, dataset, size = run.loss, loader.dataset, run.train.batch_size
    bags = TripletBags(
        dataset.labels,
        images_per_identity=loss.images_per_identity,
        bag_size=loss.triplet_bag_size,
        seed=run.train.seed,
    )
    session.say("images_per_identity", loss.images_per_identity)
    session.say(len(dataset.images_per_identity()))
    session.say("triplet_seq", bags.images_per_pass)
    mining = MiningConfig(
        alpha=loss.triplet_alpha,
        max_ap=loss.triplet_max_ap,
        batch_size=size,
        per_batch_size=size // (len(session.contexts) or session.ranks.count),
        seed=run.train.seed,
    )
    height, width, channels = run.data.image_shape
    plain = TrainLoader(
        dataset,
        batch_size=size,
        image_shape=(height, width, channels),
        seed=run.train.seed,
        rand_mirror=False,
        threads=loader.threads,
        damaged_limit=run.max_damaged,
    )
    return TripletRounds(loader, plain, learner, bags, mining, say=session.say)


def build_loader(run: RunConfig, session: Session) -> TrainLoader:
    """This rank's rows of the batches of `train.rec`, with 2019's lines about it."""
    data = run.data
    path = data.dataset_path / "train.rec"
    if not path.is_file():
        raise DataError(f"{path}: no such file; pack the images with src/data/face2rec2.py, or change dataset_path")
    dataset = RecordDataset(path, images_filter=data.data_images_filter)
    for line in dataset.describe():
        session.say(line)
    session.say("rand_mirror", data.data_rand_mirror)
    height, width, channels = data.image_shape
    return TrainLoader(
        dataset,
        batch_size=run.train.batch_size,
        image_shape=(height, width, channels),
        seed=run.train.seed,
        rand_mirror=data.data_rand_mirror,
        cutoff=data.data_cutoff,
        cutoff_share=1.0 if run.loss.is_triplet else 0.5,  # 2019's iterators differed in this
        color=0 if run.loss.is_triplet else data.data_color,
        rank=session.ranks.rank,
        num_ranks=session.ranks.count,
        threads=run.threads or max(1, usable_cpus() // session.place.local_count),
        workers=run.workers,
        damaged_limit=run.max_damaged,
    )


def load_pair_sets(data: DataConfig, *, say: Callable[..., object]) -> list[PairSet]:
    """The validation sets that lie beside the records; as in 2019, others are passed over."""
    height, width, _ = data.image_shape
    pair_sets = []
    for name in data.val_targets:
        path = data.dataset_path / f"{name}.bin"
        if path.is_file():
            pair_sets.append(load_pair_set(path, (height, width), say=say))
            say("ver", name)
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
