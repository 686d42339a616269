"""The two engines side by side: one graph, one start, a learner of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from tests.train.tiny import CONFIG, EMB_SIZE, NUM_CLASSES, SIDE, tiny_embedding

from mxface.graph import NameManager, Symbol, Variable, sym
from mxface.losses import HeadConfig, HeadOutput, SoftmaxHead
from mxface.losses.threshold import ThresholdMargin
from mxface.losses.triplet import TripletHead
from mxface.symbols import heads
from mxface.train.config import TrainConfig
from mxface.train.initializer import init_params
from mxface.train.learner import Learner
from mxface.train.mxnet_learner import MxnetLearner, import_mxnet
from mxface.train.optimizer import NO_MULTIPLIERS, named_multipliers

S, ALPHA = 16.0, 0.3
MARGIN = heads.MARGINS["arcface"]
TRIPLETS = {"triplet": heads.triplet_loss, "atriplet": heads.angular_triplet_loss}
THRESHOLDS = {"threshold": heads.Threshold(0.5, False), "easy margin": heads.Threshold(0.5, True)}
LOSSES = ("softmax", "softmax without bias", *heads.MARGINS, *THRESHOLDS, "sub-centres", *TRIPLETS)
SUB_CENTRES = 3


class Engines(NamedTuple):
    """The same network, at the same start, in both engines."""

    torch: Learner
    mxnet: MxnetLearner


def accept(_output: HeadOutput) -> None:
    """No check."""


def relu_embedding(batch_norm: bool = True) -> Symbol:
    """`tiny_embedding` without PReLU, whose slopes MXNet moves otherwise, and without dropout."""
    with NameManager():
        x = (Variable("data") - 127.5) * 0.0078125
        x = sym.Convolution(data=x, num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True, name="conv0")
        if batch_norm:
            x = sym.BatchNorm(data=x, fix_gamma=False, name="bn0")
        x = sym.Activation(data=x, act_type="relu", name="relu0")
        return sym.FullyConnected(data=x, num_hidden=EMB_SIZE, name="fc1")


def loss_graph(
    embedding: Symbol, loss: str, batch_size: int, *, num_classes: int = NUM_CLASSES, emb_size: int = EMB_SIZE
) -> Symbol:
    """2019's graph of a loss, for a batch of one device."""
    if loss in TRIPLETS:
        return TRIPLETS[loss](embedding, batch_size=batch_size, alpha=ALPHA)
    options: dict[str, Any] = {"num_classes": num_classes, "emb_size": emb_size, "batch_size": batch_size}
    if loss.startswith("softmax"):
        return heads.softmax_loss(embedding, no_bias="without" in loss, **options)
    if loss == "sub-centres":
        return heads.margin_softmax_loss(embedding, s=S, margin=MARGIN, sub_centres=SUB_CENTRES, **options)
    return heads.margin_softmax_loss(embedding, s=S, margin={**heads.MARGINS, **THRESHOLDS}[loss], **options)


def torch_head(loss: str, *, num_classes: int = NUM_CLASSES, emb_size: int = EMB_SIZE) -> SoftmaxHead | TripletHead:
    """Our head for the same loss, its centres drawn from seed 0."""
    if loss in TRIPLETS:
        return TripletHead(alpha=ALPHA, kind="triplet" if loss == "triplet" else "atriplet")
    generator = torch.Generator().manual_seed(0)
    if loss.startswith("softmax"):
        config = HeadConfig(num_classes=num_classes, emb_size=emb_size, kind="softmax", no_bias="without" in loss)
    else:
        m1, m2, m3 = heads.MARGINS.get(loss, MARGIN)
        sub_centres = SUB_CENTRES if loss == "sub-centres" else 1
        config = HeadConfig(
            num_classes=num_classes, emb_size=emb_size, s=S, m1=m1, m2=m2, m3=m3, sub_centres=sub_centres
        )
    rule = ThresholdMargin(THRESHOLDS[loss].m, easy=THRESHOLDS[loss].easy) if loss in THRESHOLDS else None
    return SoftmaxHead(config, generator=generator, rule=rule)


def build_engines(
    loss: str = "arcface",
    config: TrainConfig = CONFIG,
    *,
    embedding: Symbol | None = None,
    net_name: str = "fresnet",
    side: int = SIDE,
    num_devices: int = 1,
    **sizes: int,
) -> Engines:
    """Both, from the same numbers. The torch engine's slopes get MXNet's factor (`put_factor_into_slopes`)."""
    embedding = embedding or tiny_embedding(dropout=0.0)
    shapes, _, states = embedding.infer_shape(data=(1, 3, side, side))
    shapes = {name: shape for name, shape in {**shapes, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, net_name, np.random.default_rng(config.seed))
    head = torch_head(loss, **sizes)
    graph = loss_graph(embedding, loss, config.batch_size // num_devices, **sizes)
    inputs = ("data", "softmax_label")
    multipliers = named_multipliers(graph, inputs) if config.wd_scope == "weights" else NO_MULTIPLIERS
    centres = {name: parameter.detach().numpy().copy() for name, parameter in head.named_parameters()}
    ours = Learner(embedding, params, head, config, device=torch.device("cpu"), multipliers=multipliers)
    put_factor_into_slopes(ours)
    theirs = MxnetLearner(
        embedding,
        graph,
        {**params, **centres},
        config,
        image_shape=(side, side, 3),
        contexts=[import_mxnet().cpu(number) for number in range(num_devices)],
        triplet_alpha=ALPHA if loss in TRIPLETS else None,
    )
    return Engines(ours, theirs)


def put_factor_into_slopes(learner: Learner) -> frozenset[str]:
    """Give the gradients of our PReLU slopes MXNet 1.9.1's factor, the slope; the slopes' names."""
    slopes = {
        name: slope for name, slope in learner.backbone.named_parameters() if "relu" in name and name.endswith("_gamma")
    }
    for slope in slopes.values():
        slope.register_hook(lambda gradient, slope=slope: gradient * slope.detach())
    return frozenset(slopes)


def largest_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Of each array, the largest difference relative to its largest value (1 where that is smaller)."""
    assert ours.keys() == theirs.keys()
    return {
        name: float(np.abs(np.asarray(ours[name]) - np.asarray(theirs[name])).max())
        / max(1.0, float(np.abs(np.asarray(theirs[name])).max()))
        for name in ours
    }


def assert_alike(ours: Mapping[str, Any], theirs: Mapping[str, Any], tolerance: float) -> None:
    """Every array of both tables within the tolerance, as `largest_differences` measures."""
    far = {name: off for name, off in largest_differences(ours, theirs).items() if not off <= tolerance}
    assert not far, far


def same_bits(ours: Mapping[str, Any], theirs: Mapping[str, Any], names: Sequence[str] | None = None) -> bool:
    """Whether the tables hold the same bits."""
    return all(np.array_equal(np.asarray(ours[name]), np.asarray(theirs[name])) for name in names or ours)
