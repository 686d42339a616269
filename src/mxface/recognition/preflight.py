"""The pre-flight of a recognition run: gathers what `train.preflight` judges, on the main rank, and says it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from mxface.cpus import usable_cpus
from mxface.eval.protocol import PairSet
from mxface.graph import Symbol
from mxface.losses.class_shard import class_range, expected_sample
from mxface.losses.first_loss import depends_on_length, expected_first_loss, first_loss_spread
from mxface.ranks import Ranks
from mxface.recognition.config import RunConfig
from mxface.recognition.head import softmax_task
from mxface.recognition.inputs import Inputs
from mxface.recognition.session import Session
from mxface.train.learner import Learner, Trainee
from mxface.train.memory import MemoryForecast, forecast_memory, forecast_mxnet_memory
from mxface.train.overlap import Thumbnails, find_overlaps, thumbnails
from mxface.train.preflight import (
    FirstLoss,
    Identities,
    Preflight,
    ends_in_batchnorm,
    has_batchnorm,
    require_batchnorm_can_learn,
    require_labels_in_range,
)
from mxface.train.process_group import quiet
from mxface.train.schedule import margin_share
from mxface.train.watch import Watch

log = logging.getLogger(__name__)


def pre_flight(
    run: RunConfig,
    session: Session,
    learner: Trainee,
    inputs: Inputs,
    embedding: Symbol,
    *,
    flops: int,
    process_bytes: int,
    step: int,
) -> Preflight:
    """Say the table and the warnings. All ranks call, the main one looks.

    `flops` are of one image, `step` batches lie behind a resumed run.

    Raises ConfigError and DataError, on every rank, for what cannot be trained.
    """
    dataset, num_classes = inputs.dataset, inputs.num_classes
    pictures = collect_thumbnails(inputs.pair_sets, session.ranks)

    def look() -> Preflight:
        height, width, channels = run.data.image_shape
        rank_batch = run.train.batch_size // (len(session.contexts) or session.ranks.count)
        if not run.loss.is_triplet:
            require_labels_in_range(dataset, num_classes)
        require_batchnorm_can_learn(embedding, rank_batch, run.data.image_shape)
        loaded = loaded_bytes(run, session, inputs)
        memory: MemoryForecast | str
        if isinstance(learner, Learner):
            memory = forecast_memory(
                learner,
                rank_batch_size=rank_batch,
                image_shape=(height, width, channels),
                process=process_bytes,
                loaded=loaded,
                sharers=1 if session.device.type == "cuda" else session.place.local_count,
            )
        else:
            memory = mxnet_memory(run, learner, session, inputs, process=process_bytes, loaded=loaded)
        arguments, _, _ = embedding.infer_shape(data=(1, channels, height, width))
        return Preflight(
            config=run.train,
            device=str(session.device) if not session.contexts else ", ".join(map(str, session.contexts)),
            ranks=len(session.contexts) or session.ranks.count,
            num_classes=num_classes,
            has_batchnorm=has_batchnorm(embedding),
            parameters=sum(int(np.prod(shape)) for name, shape in arguments.items() if name != "data"),
            flops=flops,
            identities=Identities.of(dataset),
            memory=memory,
            first_loss=first_loss(run, num_classes, embedding, step=step, num_ranks=session.ranks.count),
            overlaps=find_overlaps(dataset, inputs.pair_sets, pictures, threads=run.threads or usable_cpus()),
            is_mined=run.loss.is_triplet,
        )

    flight = session.ranks.on_main(look)
    for line in flight.lines():
        session.say(line)
    for warning in flight.warnings():
        log.warning("%s", warning)
    if run.train.margin_warmup > 0 and run.loss.is_plain:
        name = run.loss.loss_name
        log.warning("--margin-warmup %d has no effect: loss_name %s has no margin", run.train.margin_warmup, name)
    return flight


def collect_thumbnails(pair_sets: Sequence[PairSet], ranks: Ranks) -> dict[str, Thumbnails]:
    """Those of each set's pictures, all of them on the main rank; each rank has a share of the pictures."""
    with ranks.at_work():
        own = {pairs.name: thumbnails(pairs.images) for pairs in pair_sets}
    return {name: ranks.collect_rows(torch.from_numpy(rows)).numpy() for name, rows in own.items()}


def first_loss(run: RunConfig, num_classes: int, embedding: Symbol, *, step: int, num_ranks: int) -> FirstLoss | str:
    """Of the first batch of an untrained network, from the settings alone; else a text that says why not."""
    loss, train = run.loss, run.train
    if step > 0:
        return f"the run goes on from batch {step}"
    if run.pretrained:
        return "the network has learned already (--pretrained)"
    if loss.is_triplet:
        return "triplets are mined, by the network itself and for the loss that they have"
    with quiet(True):  # the learner's head has said it
        config, rule = softmax_task(run, num_classes)
    if depends_on_length(config, rule) and not ends_in_batchnorm(embedding):
        return f"{loss.loss_name} depends on how long embeddings are, and this network ends in no BatchNorm"
    shards = (len(class_range(num_classes, Ranks(rank, num_ranks))) for rank in range(num_ranks))
    num_sampled = sum(expected_sample(rows, num_classes, train.sample_rate, train.batch_size) for rows in shards)
    means = []
    for share in (margin_share(1, train.margin_warmup), 1.0):
        rule.share = share
        means.append(expected_first_loss(config, rule, num_sampled=num_sampled))
    return FirstLoss(mean=means[0], spread=first_loss_spread(config, train.batch_size), grown=means[1])


def make_watch(run: RunConfig, first: FirstLoss | str) -> Watch:
    """Who looks at the losses of the run, knowing what was foretold."""
    warmup = 0 if run.loss.is_plain else run.train.margin_warmup
    if isinstance(first, str):
        return Watch(margin_warmup=warmup)
    return Watch(first.mean, first.spread, grown_loss=first.grown, margin_warmup=warmup)


def mxnet_memory(
    run: RunConfig, learner: Trainee, session: Session, inputs: Inputs, *, process: int, loaded: int
) -> MemoryForecast | str:
    """Of MXNet, on the CPU; else a text that says why not."""
    from mxface.train.mxnet_learner import MxnetLearner

    assert isinstance(learner, MxnetLearner)
    if any(context.device_type != "cpu" for context in session.contexts):
        return "MXNet has not been measured on a GPU"
    train = run.train
    is_verified = train.max_steps == 0 or train.verbose <= train.max_steps + 1
    most = max((pairs.num_pictures for pairs in inputs.pair_sets), default=0) if is_verified else 0
    embedded = train.batch_size if run.loss.is_triplet else min(train.batch_size, most)  # to mine, to verify
    share = embedded / train.batch_size
    return forecast_mxnet_memory(learner.planned_bytes(), embedded=share, process=process, loaded=loaded)


def loaded_bytes(run: RunConfig, session: Session, inputs: Inputs) -> int:
    """This rank's verification pictures, the index of the records, and the batches that are made ahead."""
    pictures = sum(pairs.images.nbytes for pairs in inputs.pair_sets)
    values = [*vars(inputs.dataset).values(), *vars(inputs.dataset.images).values()]
    index = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
    ahead = 2 * run.workers + 2 if run.workers else (run.threads or usable_cpus()) + 2
    pixel_bytes = 4 if run.data.data_color else 1
    batch = run.train.batch_size // session.ranks.count * int(np.prod(run.data.image_shape)) * pixel_bytes
    return int(pictures + index + ahead * batch)


def memory_line(forecast: MemoryForecast | str, peak: float) -> str:
    """What is said at the end: the forecast, and what the largest rank really held."""
    predicted = "" if isinstance(forecast, str) else f"predicted {forecast.total / 1e9:.2f} GB, "
    return f"memory per rank: {predicted}peak {peak / 1e9:.2f} GB"
