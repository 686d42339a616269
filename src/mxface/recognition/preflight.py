"""The pre-flight of a recognition run: gathers what `train.preflight` judges, on the main rank, and says it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from mxface.cpus import usable_cpus
from mxface.eval.protocol import PairSet
from mxface.graph import Symbol
from mxface.losses import SoftmaxHead
from mxface.losses.first_loss import expected_first_loss, first_loss_spread
from mxface.ranks import Ranks
from mxface.recognition.config import RunConfig
from mxface.recognition.inputs import Inputs
from mxface.recognition.session import Session
from mxface.train.learner import Learner, Trainee
from mxface.train.memory import MemoryForecast, forecast_memory
from mxface.train.overlap import Thumbnails, find_overlaps, thumbnails
from mxface.train.preflight import (
    Identities,
    Preflight,
    require_batchnorm_can_learn,
    require_labels_in_range,
)
from mxface.train.schedule import margin_share

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
        memory = None
        if isinstance(learner, Learner):
            loaded = loaded_bytes(run, session, inputs)
            memory = forecast_memory(
                learner,
                rank_batch_size=rank_batch,
                image_shape=(height, width, channels),
                process=process_bytes,
                loaded=loaded,
                sharers=1 if session.device.type == "cuda" else session.place.local_count,
            )
        arguments, _, _ = embedding.infer_shape(data=(1, channels, height, width))
        expected_loss, loss_spread = first_loss(run, learner, step)
        return Preflight(
            config=run.train,
            device=str(session.device) if not session.contexts else ", ".join(map(str, session.contexts)),
            ranks=len(session.contexts) or session.ranks.count,
            num_classes=num_classes,
            parameters=sum(int(np.prod(shape)) for name, shape in arguments.items() if name != "data"),
            flops=flops,
            identities=Identities.of(dataset),
            memory=memory,
            expected_loss=expected_loss,
            loss_spread=loss_spread,
            overlaps=find_overlaps(dataset, pictures, threads=run.threads or usable_cpus()),
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


def first_loss(run: RunConfig, learner: Trainee, step: int) -> tuple[float | None, float]:
    """Loss of the first batch and its standard deviation; None and 0 where the run starts from something learned."""
    if step > 0 or run.pretrained or not isinstance(learner, Learner) or not isinstance(learner.head, SoftmaxHead):
        return None, 0.0
    learner.head.margin_share = margin_share(1, run.train.margin_warmup)
    return expected_first_loss(learner.head), first_loss_spread(learner.head, run.train.batch_size)


def loaded_bytes(run: RunConfig, session: Session, inputs: Inputs) -> int:
    """This rank's verification pictures, the index of the records, and the batches that are made ahead."""
    pictures = sum(pairs.images.nbytes for pairs in inputs.pair_sets)
    values = [*vars(inputs.dataset).values(), *vars(inputs.dataset.images).values()]
    index = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
    ahead = 2 * run.workers + 2 if run.workers else (run.threads or usable_cpus()) + 2
    pixel_bytes = 4 if run.data.data_color else 1
    batch = run.train.batch_size // session.ranks.count * int(np.prod(run.data.image_shape)) * pixel_bytes
    return int(pictures + index + ahead * batch)


def memory_line(forecast: MemoryForecast | None, peak: float) -> str:
    """What is said at the end: the forecast, and what the largest rank really held."""
    predicted = "" if forecast is None else f"predicted {forecast.total / 1e9:.2f} GB, "
    return f"memory per rank: {predicted}peak {peak / 1e9:.2f} GB"
