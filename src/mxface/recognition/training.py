"""What every training command does: start ranks or be one, build everything, train."""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mxface.cli import setup_logging
from mxface.graph import Symbol, load_checkpoint
from mxface.graph.flops import count_flops, flops_text
from mxface.losses.softmax_head import SHARDED
from mxface.outputs import output_folder, sole_use
from mxface.ranks import Ranks
from mxface.recognition.arguments import Arguments
from mxface.recognition.config import RunConfig
from mxface.recognition.inputs import Inputs, find_num_classes, open_inputs
from mxface.recognition.model import add_head, build_embedding, build_learner, find_pretrained, save_model
from mxface.recognition.preflight import make_watch, memory_line, pre_flight
from mxface.recognition.session import Session, say_nothing
from mxface.train.checkpoint import SaveRule
from mxface.train.device import choose_device
from mxface.train.guard import StopSignals
from mxface.train.judge import Judge
from mxface.train.launcher import is_launched, launch, same_command, telling_the_launcher
from mxface.train.learner import Trainee
from mxface.train.log import BatchReport, RunLog
from mxface.train.loop import fit
from mxface.train.memory import peak_bytes, resident_bytes
from mxface.train.process_group import Place, find_place, joined, log_as_rank, quiet, require_agreement
from mxface.train.progress import Progress
from mxface.train.resume import RunState
from mxface.train.state import StateFolder

log = logging.getLogger(__name__)


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
        with output_folder(run.prefix.parent, "--models-root (--prefix)"):
            if place is None and run.ranks > 1 and run.engine == "torch":
                return launch(same_command(argv, module), run.ranks)
            return train_as_rank(arguments, place or Place())


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


def train(run: RunConfig, num_classes: int, session: Session) -> None:
    """Build everything and train."""
    ranks, say = session.ranks, session.say
    process_bytes = resident_bytes()
    progress, rule = Progress(), SaveRule(ckpt=run.train.ckpt)
    with contextlib.ExitStack() as stack:
        alone = sole_use(
            run.prefix.parent, "wait for its end, or choose another --models-root (a --prefix in another folder)"
        )
        ranks.on_main(lambda: stack.enter_context(alone))
        with quiet(not ranks.is_main):
            embedding = build_embedding(run)
            whole = add_head(embedding, run, num_classes, devices=len(session.contexts) or run.ranks)
            learner = start_learner(run, embedding, whole, num_classes, session)
            height, width, channels = run.data.image_shape
            flops = count_flops(embedding, data=(1, channels, height, width))
            if run.count_flops:
                say("Network FLOPs:", flops_text(flops))
            inputs = open_inputs(run, num_classes, learner, session)
            stack.enter_context(contextlib.closing(inputs.batches))
            state = start_state(run, session, learner, inputs, progress, rule)
            require_same_start(run, ranks, learner, inputs, place=(progress, rule))
            flight = pre_flight(
                run, session, learner, inputs, embedding, flops=flops, process_bytes=process_bytes, step=progress.step
            )
        watch = make_watch(run, flight.first_loss) if ranks.is_main else None
        folder = run.prefix.parent / "tensorboard" if ranks.is_main else None
        say_line = tqdm.write if ranks.is_main else say_nothing
        run_log = RunLog(say_line, folder, first_step=progress.step, max_steps=run.train.max_steps)
        stack.enter_context(run_log)
        saved = embedding if run.ckpt_embedding else whole
        judge = Judge(
            learner,
            inputs.pair_sets,
            rule,
            partial(save_model, run.prefix, symbol=saved, learner=learner, ranks=ranks),
            batch_size=run.train.batch_size,
            log=run_log,
            ranks=ranks,
            watch=watch,
        )
        report = BatchReport(
            run_log,
            batch_size=run.train.batch_size,
            frequent=run.train.frequent,
            with_lossvalue=run.loss.ce_loss or run.loss.is_triplet,
            with_accuracy=not run.loss.is_triplet,
            parall_verbose=run.train.verbose if run.parall else 0,
            watch=watch,
        )
        fit(
            learner,
            inputs.batches,
            run.train,
            progress=progress,
            judge=judge,
            state=state,
            report=report,
            stop=session.stop,
        )
    peak = ranks.max_(torch.tensor(float(peak_bytes(session.device)), dtype=torch.float64))
    say(memory_line(flight.memory, float(peak)))


def start_state(
    run: RunConfig, session: Session, learner: Trainee, inputs: Inputs, progress: Progress, rule: SaveRule
) -> RunState:
    """The training states of the run; with --resume everything goes on from the newest, which is said."""
    states = StateFolder(run.prefix.parent / "state", session.ranks)
    state = RunState(
        states,
        learner,
        progress,
        rule,
        identity={"seed": run.train.seed, "num_images": inputs.dataset.num_images},
        setting={"global_batch": run.train.batch_size, "ranks": session.ranks.count},
        place=inputs.place,
        sharded={f"head/{name}": inputs.num_classes for name in SHARDED},
    )
    if run.resume:
        resumed = state.resume()
        nothing = f"no training state beside {run.prefix}: starting at the beginning"
        session.say(resumed.account if resumed else nothing)
        if 0 < run.train.max_steps < progress.step:
            left = f"nothing is left to do: max_steps is {run.train.max_steps}; a larger one in the config trains on"
            session.say(left)
    elif states.list_states():
        log.warning("%s is of an earlier run and will be replaced; --resume goes on from it", states.folder)
    return state


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


def require_same_start(run: RunConfig, ranks: Ranks, learner: Trainee, inputs: Inputs, *, place: object) -> None:
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
        data_set=(inputs.num_classes, zlib.crc32(np.ascontiguousarray(inputs.dataset.keys).data)),
        # each verifies its share of every set: one that lacks a set would leave the others waiting for it
        verification_sets=[(pairs.name, pairs.num_pictures, len(pairs.issame)) for pairs in inputs.pair_sets],
        place_in_the_training=place,
        parameters=sums,
    )
