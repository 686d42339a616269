"""The loss graphs of 2019's train.py, as MXNet would train them: embedding in, [embedding, softmax, ce_loss] out.

Those of triplets give [embedding, label, loss]. They are what `lower()` and real MXNet run. `losses/` computes the same
thing faster, for the target class alone. One difference: the arccos here is MXNet's, so a cosine of exactly ±1 gives a
gradient that is not a number, as it did; `losses/` clamps it. tests/symbols/test_heads.py and
tests/oracle/test_triplet.py hold these graphs against the original's numbers, NaN included.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mxface.errors import ConfigError
from mxface.graph import Group, Symbol, Variable, sym
from mxface.graph.naming import network_names

TINY = 1e-30  # disappears beside any difference of cosines that is not 0
FC7_INIT = '["normal", {"sigma": 0.01}]'


class Margin(NamedTuple):
    """The target's cosine becomes cos(m1 * arccos(cosine) + m2) - m3."""

    m1: float
    m2: float
    m3: float


class Threshold(NamedTuple):
    """ArcFace that never rises again, of 2019's src/train_softmax.py; t is the target's angle.

    The cosine becomes cos(t + m) while t + m < pi, beyond that cosine - m * sin(pi - m); `easy`: cos(t + m) while the
    cosine is above 0, below that it stays.
    """

    m: float
    easy: bool


MARGINS = {
    "nsoftmax": Margin(1.0, 0.0, 0.0),
    "sphereface": Margin(1.5, 0.0, 0.0),
    "arcface": Margin(1.0, 0.5, 0.0),
    "cosface": Margin(1.0, 0.0, 0.35),
    "combined": Margin(1.0, 0.3, 0.2),
}


def softmax_loss(
    embedding: Symbol,
    *,
    num_classes: int,
    emb_size: int,
    batch_size: int,
    no_bias: bool = False,
    ce_loss: bool = True,
    lr_mult: float = 1.0,
    wd_mult: float = 1.0,
) -> Symbol:
    """Plain softmax over W x (+ b). `batch_size` (of one device) divides ce_loss.

    The multipliers are fc7_weight's; 2019 wrote them into the graph, where its optimiser never read them.
    """
    with network_names(after=embedding.nodes):
        weight = class_weight(num_classes, emb_size, lr_mult, wd_mult)
        bias = {} if no_bias else {"bias": Variable("fc7_bias", lr_mult=2.0, wd_mult=0.0)}
        logits = sym.FullyConnected(
            data=embedding, weight=weight, **bias, num_hidden=num_classes, no_bias=no_bias, name="fc7"
        )
        return outputs(embedding, logits, Variable("softmax_label"), batch_size if ce_loss else None)


def margin_softmax_loss(
    embedding: Symbol,
    *,
    num_classes: int,
    emb_size: int,
    batch_size: int,
    s: float,
    margin: Margin | Threshold,
    sub_centres: int = 1,
    ce_loss: bool = True,
    lr_mult: float = 1.0,
    wd_mult: float = 1.0,
) -> Symbol:
    """Softmax over s * cosine, with a margin on the target's. See softmax_loss for the other arguments.

    With `sub_centres` above 1 fc7_weight is (classes, sub-centres, emb_size), and the cosine that to the nearest.
    """
    m1 = margin.m1 if isinstance(margin, Margin) else 1.0
    if s <= 0 or m1 < 0:
        raise ConfigError(f"loss_s={s} must be above 0 and loss_m1={m1} not below 0")
    with network_names(after=embedding.nodes):
        weight = class_weight(num_classes, emb_size, lr_mult, wd_mult, sub_centres)
        if sub_centres > 1:
            weight = sym.reshape(weight, shape=(-3, 0))
        weight = sym.L2Normalization(weight, mode="instance")
        unit = sym.L2Normalization(embedding, mode="instance", name="fc1n") * s
        num_centres = num_classes * sub_centres
        logits = sym.FullyConnected(data=unit, weight=weight, no_bias=True, num_hidden=num_centres, name="fc7")
        if sub_centres > 1:
            logits = sym.max(sym.reshape(logits, shape=(0, num_classes, sub_centres)), axis=2)
        label = Variable("softmax_label")
        logits = add_margin(logits, label, num_classes, s, margin)
        return outputs(embedding, logits, label, batch_size if ce_loss else None)


def triplet_loss(embedding: Symbol, *, batch_size: int, alpha: float) -> Symbol:
    """max(0, |a - p|^2 - |a - n|^2 + alpha), the mean over the triplets; `batch_size` (of one device) is 3 of each.

    The rows are anchors, then positives, then negatives. The outputs are embedding, label and loss.
    """
    with network_names(after=embedding.nodes):
        anchor, positive, negative = triplet_parts(embedding, batch_size)
        to_positive, to_negative = (
            sym.sum(sym.square(anchor - other), axis=1, keepdims=True) for other in (positive, negative)
        )
        return triplet_outputs(embedding, to_positive - to_negative + alpha)


def angular_triplet_loss(embedding: Symbol, *, batch_size: int, alpha: float) -> Symbol:
    """max(0, arccos(a.p) - arccos(a.n) + alpha), the mean over the triplets; otherwise as `triplet_loss`."""
    with network_names(after=embedding.nodes):
        anchor, positive, negative = triplet_parts(embedding, batch_size)
        to_positive, to_negative = (
            sym.arccos(sym.sum(anchor * other, axis=1, keepdims=True)) for other in (positive, negative)
        )
        return triplet_outputs(embedding, to_positive - to_negative + alpha)


def triplet_parts(embedding: Symbol, batch_size: int) -> list[Symbol]:
    """Unit rows of the anchors, of the positives and of the negatives."""
    if batch_size % 3:
        raise ConfigError(f"per_batch_size is {batch_size}: triplets need a multiple of 3")
    unit = sym.L2Normalization(embedding, mode="instance", name="fc1n")
    third = batch_size // 3
    return [sym.slice_axis(unit, axis=0, begin=start, end=start + third) for start in range(0, batch_size, third)]


def triplet_outputs(embedding: Symbol, excess: Symbol) -> Symbol:
    """Only the loss has a gradient."""
    loss = sym.MakeLoss(sym.mean(sym.Activation(excess, act_type="relu")))
    return Group([sym.BlockGrad(embedding), sym.BlockGrad(Variable("softmax_label")), loss])


def add_margin(logits: Symbol, label: Symbol, num_classes: int, s: float, margin: Margin | Threshold) -> Symbol:
    """The logits, the target's under the margin."""
    if isinstance(margin, Margin) and margin == (1.0, 0.0, 0.0):
        return logits
    if isinstance(margin, Margin) and margin[:2] == (1.0, 0.0):
        return logits - sym.one_hot(label, depth=num_classes, on_value=s * margin.m3, off_value=0.0)
    target = sym.pick(logits, label, axis=1)
    if isinstance(margin, Threshold):
        new_target = threshold_margin(target, s, margin)
    else:
        new_target = angular_margin(target, s, margin)
    change = sym.expand_dims(new_target - target, 1)
    one_hot = sym.one_hot(label, depth=num_classes, on_value=1.0, off_value=0.0)
    return logits + sym.broadcast_mul(one_hot, change)


def angular_margin(target: Symbol, s: float, margin: Margin) -> Symbol:
    """The target's logit under the margin; no fold-back beyond pi. 2019 ignored m2 and m3 below 0 here."""
    theta = sym.arccos(target / s)
    if margin.m1 != 1.0:
        theta = theta * margin.m1
    if margin.m2 > 0.0:
        theta = theta + margin.m2
    cosine = sym.cos(theta)
    if margin.m3 > 0.0:
        cosine = cosine - margin.m3
    return cosine * s


def threshold_margin(target: Symbol, s: float, margin: Threshold) -> Symbol:
    """The target's logit under `Threshold`."""
    cosine = target / s
    over = cosine - (0.0 if margin.easy else math.cos(math.pi - margin.m))
    fits = sym.BlockGrad(sym.relu(over) / (sym.abs(over) + TINY))  # 1 or 0
    sine = sym.sqrt(1.0 - sym.square(cosine))
    rotated = cosine * math.cos(margin.m) - sine * math.sin(margin.m)
    beyond = cosine if margin.easy else cosine - margin.m * math.sin(math.pi - margin.m)
    return (fits * rotated + (1.0 - fits) * beyond) * s


def class_weight(num_classes: int, emb_size: int, lr_mult: float, wd_mult: float, sub_centres: int = 1) -> Symbol:
    shape = (num_classes, emb_size) if sub_centres == 1 else (num_classes, sub_centres, emb_size)
    return Variable("fc7_weight", shape=shape, lr_mult=lr_mult, wd_mult=wd_mult, init=FC7_INIT)


def outputs(embedding: Symbol, logits: Symbol, label: Symbol, batch_size: int | None) -> Symbol:
    """Only the softmax has a gradient. `batch_size` None leaves ce_loss out.

    ce_loss is the mean of -log p, infinite where float32 rounds p to 0; it is for display.
    """
    parts = [
        sym.BlockGrad(embedding),
        sym.SoftmaxOutput(data=logits, label=label, normalization="valid", name="softmax"),
    ]
    if batch_size is not None:
        probability = sym.pick(sym.SoftmaxActivation(data=logits), label, axis=1)
        parts.append(sym.BlockGrad(sym.sum(-sym.log(probability)) / batch_size))
    return Group(parts)
