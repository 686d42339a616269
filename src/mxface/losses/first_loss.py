"""The loss that an untrained network must have, from nothing but the head's settings.

Embeddings and class centres point anywhere, so cosines are those of random directions in D dimensions: sqrt(D - 1) * t
of a cosine c, t = c / sqrt(1 - c^2), follows Student's distribution with D - 1 degrees of freedom (for large D, c is
normal with variance 1 / D). With z_j = s * c_j of the C - 1 other classes and z_y = s * m(c_y) of the own one

    E[loss] = E[log(exp(z_y) + sum_j exp(z_j)) - z_y]

The sum is taken over the C - 1 quantiles of the cosine. Its usual estimate log(C - 1) + s^2 / (2 D) is far too high
where s / sqrt(D) is above sqrt(2 log C): a few classes then make the sum (Derrida's random energy model is frozen). The
expectation over c_y is over its quantiles, too. K sub-centres: z_j is the largest of K, so its quantile p is p^(1/K).
Plain softmax: z = 0.01 * sqrt(D) * a normal value, the centres' start times the length sqrt(D) that the last BatchNorm
gives an embedding.

Beside the cross entropy: a rule's penalty; the inter loss, whose only cosines that do not cancel are those of a centre
with itself, so weight / C; the centre loss, whose centres start at 0, so weight * D / 2.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from mxface.losses.adaface import AdaFace
from mxface.losses.head_config import HeadConfig
from mxface.losses.magface import MagFace
from mxface.losses.margin import BatchRows, MarginRule
from mxface.losses.softmax_head import INITIAL_SIGMA

TARGET_QUANTILES = 64
OTHER_QUANTILES = 1 << 13
"""So many of the largest other classes are taken one by one; as many quantiles stand for the rest."""


def expected_first_loss(config: HeadConfig, rule: MarginRule, *, num_sampled: float | None = None) -> float:
    """The mean loss of the first batch; of `num_classes` so many are in a step's softmax, by default all."""
    added = config.inter_weight / config.num_classes + config.centre_weight * config.emb_size / 2
    count = round(config.num_classes if num_sampled is None else num_sampled) - 1
    if count < 1:
        return added
    probability, weight = other_classes(count)
    own = (torch.arange(TARGET_QUANTILES, dtype=torch.float64) + 0.5) / TARGET_QUANTILES
    if not config.is_margin:
        spread = INITIAL_SIGMA * math.sqrt(config.emb_size)
        others = torch.special.ndtri(probability) * spread
        return added + mean_cross_entropy(torch.special.ndtri(own) * spread, others.unsqueeze(1), weight)
    probability, own = (values ** (1 / config.sub_centres) for values in (probability, own))
    others = config.s * cosine_quantile(probability, config.emb_size).unsqueeze(1)
    rule = copy.deepcopy(rule).to("cpu", torch.float64)
    length = torch.full_like(own, math.sqrt(config.emb_size))
    rows = BatchRows(cosine_quantile(own, config.emb_size), length)
    target = rule.target(rows)
    change = rule.others(rows, config.s)
    if change is not None:
        others = change(others.expand(-1, len(own)).contiguous())[0]
    if target.penalty is not None:
        added += float(target.penalty.mean())
    return added + mean_cross_entropy(config.s * target.cosine, others, weight)


def depends_on_length(config: HeadConfig, rule: MarginRule) -> bool:
    """Whether the loss is another one for longer embeddings: then a BatchNorm must have given them their length."""
    return not config.is_margin or isinstance(rule, (MagFace, AdaFace))


def first_loss_spread(config: HeadConfig, batch_size: int) -> float:
    """The standard deviation of the first batch's loss: of the own logits, of as many that depend on nothing else."""
    scale = config.s / math.sqrt(config.emb_size) if config.is_margin else INITIAL_SIGMA * math.sqrt(config.emb_size)
    return scale / math.sqrt(min(batch_size, config.num_classes))


def other_classes(count: int) -> tuple[Tensor, Tensor]:
    """Probabilities at which to take quantiles for `count` classes, and how many classes each of them stands for."""
    single = min(count, OTHER_QUANTILES)
    top = 1 - (torch.arange(single, dtype=torch.float64) + 0.5) / count
    if single == count:
        return top, torch.ones_like(top)
    rest = (torch.arange(OTHER_QUANTILES, dtype=torch.float64) + 0.5) / OTHER_QUANTILES * (1 - single / count)
    weight = torch.full_like(rest, (count - single) / OTHER_QUANTILES)
    return torch.cat((top, rest)), torch.cat((torch.ones_like(top), weight))


def cosine_quantile(probability: Tensor, dim: int) -> Tensor:
    """Of the cosine of random directions in `dim` dimensions; Student's quantile by the Cornish-Fisher expansion."""
    z, degrees = torch.special.ndtri(probability), max(dim - 1, 1)
    t = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    cosine: Tensor = t / torch.sqrt(degrees + t**2)
    return cosine


def mean_cross_entropy(own: Tensor, others: Tensor, weight: Tensor) -> float:
    """`own` (Q,) logits of the target, `others` (N, Q) or (N, 1) of classes that each stand for `weight` (N,)."""
    log_others = torch.logsumexp(others + weight.log().unsqueeze(1), dim=0)
    return float(torch.nn.functional.softplus(log_others - own).mean())
