"""Every loss as its paper writes it: dense, over (B, C) cosines, for autograd in float64. No code is shared with ours.

Legend: B batch, C classes, K centres of a class, D embedding size; x embeddings, w centres, y labels, t angles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mxface.losses.adaface import AdaFace
from mxface.losses.curricular import CurricularFace
from mxface.losses.intra import IntraMargin
from mxface.losses.magface import MagFace
from mxface.losses.margin import MarginRule
from mxface.losses.threshold import ThresholdMargin

S = 16.0
Memory = dict[str, Any]
Reference = Callable[[Tensor, Tensor, Tensor, Memory], Tensor]


def length(rows: Tensor) -> Tensor:
    return torch.sqrt(rows.square().sum(dim=-1, keepdim=True) + 1e-10)


def cosines(x: Tensor, w: Tensor) -> Tensor:
    return (x / length(x)) @ (w / length(w)).T


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    rows = torch.arange(len(y))
    return (torch.logsumexp(logits, dim=1) - logits[rows, y]).mean()


def with_target(cosine: Tensor, y: Tensor, target: Tensor) -> Tensor:
    one_hot = torch.eye(cosine.shape[1], dtype=torch.bool)[y]
    return torch.where(one_hot, target.unsqueeze(1), cosine)


def own(cosine: Tensor, y: Tensor) -> Tensor:
    return cosine[torch.arange(len(y)), y]


def arcface(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    cosine = cosines(x, w)
    return cross_entropy(S * with_target(cosine, y, torch.cos(torch.arccos(own(cosine, y)) + 0.5)), y)


def threshold(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    cosine = cosines(x, w)
    c, m = own(cosine, y), 0.5
    turned = c * math.cos(m) - torch.sqrt(1 - c**2) * math.sin(m)
    target = torch.where(c > math.cos(math.pi - m), turned, c - m * math.sin(math.pi - m))
    return cross_entropy(S * with_target(cosine, y, target), y)


def easy_margin(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    cosine = cosines(x, w)
    c, m = own(cosine, y), 0.5
    turned = c * math.cos(m) - torch.sqrt(1 - c**2) * math.sin(m)
    return cross_entropy(S * with_target(cosine, y, torch.where(c > 0, turned, c)), y)


def intra(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    angle = torch.arccos(own(cosines(x, w), y))
    return arcface(x, w, y, memory) + 0.7 * (angle / math.pi).mean()


def inter(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    unit = w / length(w)
    return arcface(x, w, y, memory) + 0.7 * (unit[y] @ unit.T).mean()


def magface(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    """Meng et al. 2021, equation 4 with the linear m(a) and g(a) = 1/a + a/u_a^2."""
    l_a, u_a, l_m, u_m, lambda_g = 2.0, 4.0, 0.2, 0.9, 3.0
    a = length(x).squeeze(1).clamp(l_a, u_a)
    margin = (u_m - l_m) / (u_a - l_a) * (a - l_a) + l_m
    cosine = cosines(x, w)
    target = torch.cos(torch.arccos(own(cosine, y)) + margin)
    return cross_entropy(S * with_target(cosine, y, target), y) + lambda_g * (1 / a + a / u_a**2).mean()


def adaface(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    """Kim et al. 2022, equations 10 to 12; the averages by their definition, a sum over all batches so far."""
    m, h = 0.4, 0.333
    norms = length(x).squeeze(1).detach()
    batches = memory.setdefault("batches", [])
    batches.append((norms.mean(), ((norms - norms.mean()) ** 2).mean().sqrt()))
    weights = [0.99 ** (len(batches) - 1 - i) for i in range(len(batches))]
    mu, sigma = (sum(k * b[i] for k, b in zip(weights, batches, strict=True)) / sum(weights) for i in (0, 1))
    quality = torch.clip((norms - mu) / (sigma / h), -1, 1)
    cosine = cosines(x, w)
    target = torch.cos(torch.arccos(own(cosine, y)) - m * quality) - (m * quality + m)
    return cross_entropy(S * with_target(cosine, y, target), y)


def curricular(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    """Huang et al. 2020, equations 5, 6 and 9."""
    cosine = cosines(x, w)
    c = own(cosine, y)
    target = torch.cos(torch.arccos(c) + 0.5)
    memory["t"] = 0.01 * c.detach().mean() + 0.99 * memory.get("t", 0.0)
    hard = cosine.detach() > target.detach().unsqueeze(1)
    memory["hard"] = hard
    others = torch.where(hard, cosine * (memory["t"] + cosine), cosine)
    return cross_entropy(S * with_target(others, y, target), y)


def sub_centre(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    """Deng et al. 2020: max over the K sub-centres, then ArcFace. w (C, K, D)."""
    cosine = torch.stack([cosines(x, w[:, k]) for k in range(w.shape[1])]).max(dim=0).values
    return cross_entropy(S * with_target(cosine, y, torch.cos(torch.arccos(own(cosine, y)) + 0.5)), y)


def centre_softmax(x: Tensor, w: Tensor, y: Tensor, memory: Memory) -> Tensor:
    """Wen et al. 2016, the centres moved a class at a time."""
    centres = memory.setdefault("centres", torch.zeros_like(w))
    loss = cross_entropy(x @ w.T, y) + 0.3 * (x - centres[y].clone()).square().sum() / (2 * len(y))
    for c in set(y.tolist()):
        rows = x.detach()[y == c]
        centres[c] += 0.5 * (rows - centres[c]).sum(dim=0) / (1 + len(rows))
    return loss


@dataclass(frozen=True)
class Loss:
    """A loss of ours beside its reference."""

    reference: Reference
    config: dict[str, Any] = field(default_factory=dict)
    rule: Callable[[], MarginRule | None] = lambda: None


LOSSES = {
    "threshold": Loss(threshold, {"s": S}, lambda: ThresholdMargin(0.5, easy=False)),
    "easy margin": Loss(easy_margin, {"s": S}, lambda: ThresholdMargin(0.5, easy=True)),
    "intra": Loss(intra, {"s": S}, lambda: IntraMargin(1.0, 0.5, 0.0, weight=0.7)),
    "inter": Loss(inter, {"s": S, "m2": 0.5, "inter_weight": 0.7}),
    "magface": Loss(magface, {"s": S}, lambda: MagFace(l_a=2.0, u_a=4.0, l_m=0.2, u_m=0.9, lambda_g=3.0)),
    "adaface": Loss(adaface, {"s": S}, lambda: AdaFace(0.4, 0.333)),
    "curricular": Loss(curricular, {"s": S}, lambda: CurricularFace(0.5)),
    "sub-centre": Loss(sub_centre, {"s": S, "m2": 0.5, "sub_centres": 3}),
    "centre": Loss(centre_softmax, {"kind": "softmax", "no_bias": True, "centre_weight": 0.3, "centre_alpha": 0.5}),
}
