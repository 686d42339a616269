"""The learner of a run with `--engine mxnet`, on MXNet's devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mxface.graph import Symbol
from mxface.recognition.config import RunConfig
from mxface.recognition.model import Params, add_head
from mxface.train.mxnet_learner import MxnetLearner, choose_contexts


def spread_over_contexts(run: RunConfig, say: Callable[[str], object]) -> tuple[RunConfig, list[Any]]:
    """MXNet's devices for the run, and the run with `--per-batch-size` images on each."""
    contexts = choose_contexts(run.device, threads=run.threads, say=say)
    return replace(run, train=replace(run.train, batch_size=run.train.batch_size * len(contexts))), contexts


def build_mxnet_learner(
    run: RunConfig, embedding: Symbol, num_classes: int, params: Params, contexts: Sequence[Any]
) -> MxnetLearner:
    """The learner at its start; `params` hold the embedding's and the head's."""
    height, width, channels = run.data.image_shape
    return MxnetLearner(
        embedding,
        add_head(embedding, run, num_classes, devices=len(contexts)),
        params,
        run.train,
        image_shape=(height, width, channels),
        contexts=contexts,
        triplet_alpha=run.loss.triplet_alpha if run.loss.loss_name.endswith("triplet") else None,
    )
