"""What a classification head is told, and what it says of a batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from torch import Tensor

from mxface.errors import ConfigError
from mxface.losses.margin import is_cosine_shift

logger = logging.getLogger(__name__)

Kind = Literal["softmax", "margin_softmax"]
NO_MULTIPLIERS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The head's task. `s`, `m1`, `m2`, `m3` are for margin_softmax, `no_bias` for softmax (the other has none).

    `sub_centres` (margin_softmax) are the centres of a class. `inter_weight` and `centre_weight` above 0 add these
    losses; `centre_alpha` is the rate of the latter's centres.
    """

    num_classes: int
    emb_size: int
    kind: Kind = "margin_softmax"
    s: float = 64.0
    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0
    no_bias: bool = False
    sub_centres: int = 1
    inter_weight: float = 0.0
    centre_weight: float = 0.0
    centre_alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in ("softmax", "margin_softmax"):
            raise ConfigError(f"loss_name is {self.kind!r}: expected 'softmax' or 'margin_softmax'")
        if self.num_classes < 1 or self.emb_size < 1:
            raise ConfigError(f"num_classes is {self.num_classes} and emb_size {self.emb_size}: both must be above 0")
        if self.is_margin and (self.s <= 0 or self.m1 < 0):
            raise ConfigError(
                f"loss_s is {self.s} and loss_m1 {self.m1}: a scale above 0, an angle's factor of 0 or more"
            )
        if self.sub_centres < 1 or (self.sub_centres > 1 and not self.is_margin):
            raise ConfigError(f"loss_sub_centres is {self.sub_centres}: expected 1, or more with a loss on cosines")
        if self.is_margin and (self.m2 < 0 or (self.m3 < 0 and not is_cosine_shift(self.m1, self.m2))):
            logger.warning("loss_m2 %g, loss_m3 %g: negative values have no effect, as in 2019", self.m2, self.m3)

    @property
    def is_margin(self) -> bool:
        """Whether logits are scaled cosines."""
        return self.kind == "margin_softmax"

    @property
    def has_bias(self) -> bool:
        """Whether there is an fc7_bias."""
        return not (self.is_margin or self.no_bias)


class HeadOutput(NamedTuple):
    """The loss (scalar); per row (B,): cross entropy, and whether the label's logit is above all others.

    The loss is the mean cross entropy, and what some losses add to it. Of the rows of all ranks, in their order; the
    same on every rank.
    """

    loss: Tensor
    cross_entropy: Tensor
    correct: Tensor


def accept(output: HeadOutput) -> None:
    """The check that lets every step pass."""
