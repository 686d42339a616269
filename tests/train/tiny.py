"""A network of a few hundred parameters, and batches for it, that train in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mxface.graph import NameManager, Symbol, Variable, sym
from mxface.loaders import Batch
from mxface.losses import HeadConfig, SoftmaxHead
from mxface.train.config import TrainConfig
from mxface.train.initializer import init_params
from mxface.train.learner import Learner

NUM_CLASSES, EMB_SIZE, SIDE = 5, 8, 8
CONFIG = TrainConfig(
    batch_size=10,
    lr=0.1,
    lr_steps=(1000,),
    wd=0.0005,
    mom=0.9,
    frequent=2,
    verbose=1000,
    state_steps=0,
    ckpt=3,
    max_steps=0,
    seed=0,
    dtype="float32",
    wd_scope="all",
)


def configure(**changes: Any) -> TrainConfig:
    """CONFIG with changes."""
    return replace(CONFIG, **changes)


def tiny_embedding(dropout: float = 0.4) -> Symbol:
    """Convolution, BatchNorm, PReLU, Dropout, fc1 as 2019's E head ends."""
    with NameManager():
        x = (Variable("data") - 127.5) * 0.0078125
        x = sym.Convolution(data=x, num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name="conv0")
        x = sym.BatchNorm(data=x, fix_gamma=False, name="bn0")
        x = sym.LeakyReLU(data=x, act_type="prelu", name="relu0")
        x = sym.Dropout(data=x, p=dropout)
        x = sym.FullyConnected(data=x, num_hidden=EMB_SIZE, name="pre_fc1")
        return sym.BatchNorm(data=x, fix_gamma=True, name="fc1")


def tiny_learner(config: TrainConfig = CONFIG, *, dropout: float = 0.4) -> Learner:
    """A learner whose start and dropout follow from the seed."""
    embedding = tiny_embedding(dropout)
    arguments, _, states = embedding.infer_shape(data=(1, 3, SIDE, SIDE))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, "fresnet", np.random.default_rng(config.seed))
    head = SoftmaxHead(
        HeadConfig(num_classes=NUM_CLASSES, emb_size=EMB_SIZE, s=16.0, m2=0.1),
        generator=torch.Generator().manual_seed(config.seed),
    )
    torch.manual_seed(config.seed)
    return Learner(embedding, params, head, config, device=torch.device("cpu"))


def tiny_batch(seed: int, batch_size: int = CONFIG.batch_size) -> Batch:
    """Images whose colour gives their class away."""
    rng = np.random.default_rng(seed)
    label = np.arange(batch_size, dtype=np.int64) % NUM_CLASSES
    colours = np.random.default_rng(0).integers(0, 200, (NUM_CLASSES, 1, 1, 3))
    data = colours[label] + rng.integers(0, 56, (batch_size, SIDE, SIDE, 3))
    return Batch(data.astype(np.uint8), label, np.arange(batch_size, dtype=np.int64))


class TinyDataset:
    """Keys as a real data set has them."""

    keys = np.arange(100, 100 + CONFIG.batch_size)
    num_images = CONFIG.batch_size


class TinyLoader:
    """Epochs of four batches, a function of their number as the real loader's are; `spoiled` steps give a bad batch."""

    dataset = TinyDataset()
    batches_per_epoch = 4

    def epoch(self, epoch: int, start_image: int = 0) -> Iterator[Batch]:
        for number in range(start_image // CONFIG.batch_size, self.batches_per_epoch):
            yield tiny_batch(1000 * epoch + number)
