"""The head of a run: which loss each `loss_name` of the config is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from mxface.losses import HeadConfig, SoftmaxHead
from mxface.losses.adaface import AdaFace
from mxface.losses.curricular import CurricularFace
from mxface.losses.intra import IntraMargin
from mxface.losses.magface import MagFace
from mxface.losses.margin import CombinedMargin, MarginRule
from mxface.losses.signed_margin import SignedMargin
from mxface.losses.threshold import ThresholdMargin
from mxface.losses.triplet import TripletHead, TripletKind
from mxface.ranks import Ranks
from mxface.recognition.config import LossConfig, RunConfig

log = logging.getLogger(__name__)

Rule = Callable[[LossConfig], MarginRule]

RULES: Mapping[str, Rule] = {
    "threshold_margin": lambda loss: ThresholdMargin(loss.loss_m2, easy=loss.loss_easy_margin),
    "intra": lambda loss: IntraMargin(loss.loss_m1, loss.loss_m2, loss.loss_m3, weight=loss.loss_intra_weight),
    "curricularface": lambda loss: CurricularFace(loss.loss_m2),
    "magface": lambda loss: MagFace(
        l_a=loss.loss_la, u_a=loss.loss_ua, l_m=loss.loss_lm, u_m=loss.loss_um, lambda_g=loss.loss_lambda_g
    ),
    "adaface": lambda loss: AdaFace(loss.loss_m, loss.loss_h),
}
"""The losses that are more than the margin of m1, m2 and m3."""


def build_head(run: RunConfig, num_classes: int, ranks: Ranks) -> SoftmaxHead | TripletHead:
    """The head of this rank at its start."""
    loss, train = run.loss, run.train
    if loss.is_triplet:
        if train.head_dtype != "float32":
            log.warning("--head-dtype %s has no effect: a triplet loss has no class centres", train.head_dtype)
        kind: TripletKind = "triplet" if loss.loss_name == "triplet" else "atriplet"
        return TripletHead(alpha=loss.triplet_alpha, kind=kind, ranks=ranks)
    config, rule = softmax_task(run, num_classes)
    return SoftmaxHead(
        config,
        generator=torch.Generator().manual_seed(train.seed),
        product_dtype=torch.bfloat16 if train.head_dtype == "bf16" else None,
        ranks=ranks,
        sample_rate=train.sample_rate,
        seed=train.seed,
        rule=rule,
    )


def softmax_task(run: RunConfig, num_classes: int) -> tuple[HeadConfig, MarginRule]:
    """What a head over classes is told, whatever engine computes it, and its loss on cosines."""
    loss = run.loss
    rule = RULES[loss.loss_name](loss) if loss.loss_name in RULES else None
    if run.parall and loss.loss_name == "margin_softmax" and min(loss.loss_m2, loss.loss_m3) < 0:
        rule = SignedMargin(loss.loss_m1, loss.loss_m2, loss.loss_m3)
        loss = replace(loss, loss_m1=1.0, loss_m2=0.0, loss_m3=0.0)
    config = head_config(loss, num_classes, run.network.emb_size)
    return config, rule or CombinedMargin(config.m1, config.m2, config.m3)


def head_config(loss: LossConfig, num_classes: int, emb_size: int) -> HeadConfig:
    """The head that goes with a loss over classes."""
    added: dict[str, dict[str, Any]] = {
        "sub_centre": {"sub_centres": loss.loss_sub_centres},
        "inter": {"inter_weight": loss.loss_inter_weight},
        "centre_softmax": {"centre_weight": loss.loss_centre_weight, "centre_alpha": loss.loss_centre_alpha},
    }
    return HeadConfig(
        num_classes=num_classes,
        emb_size=emb_size,
        kind="softmax" if loss.is_plain else "margin_softmax",
        s=loss.loss_s,
        m1=loss.loss_m1,
        m2=loss.loss_m2,
        m3=loss.loss_m3,
        no_bias=loss.fc7_no_bias,
        **added.get(loss.loss_name, {}),
    )
