"""The classification head fc7: plain softmax and 2019's margin softmax, as an autograd graph and as one fused step.

    softmax          z = fc7_weight . e (+ fc7_bias)
    margin_softmax   z_c = s * cos_c,  z_y = s * m(cos_y);  cos between embedding and centre, m of `losses.margin`

The loss is the mean cross entropy of z, so loss and accuracy carry the margin, as in 2019. It is log-sum-exp(z) - z_y:
finite where 2019's -log(softmax) underflowed to inf. Source: spec recognition §3.

On many ranks each holds the centres of its own classes only. A step gathers the embeddings of all ranks, so that
every centre meets every embedding and the softmax is exact. The centres never travel: (B, D) embeddings and their
gradient do, and four (B,) vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mxface.errors import ConfigError
from mxface.losses.centres import NO_ROW, Centres, Chunk, SampledCentres, Workspace
from mxface.losses.class_shard import class_range, normal_rows, sample_rows, sampling_generator
from mxface.losses.fused_softmax import FusedStep, SgdRate, Target, l2_norm
from mxface.losses.margin import is_cosine_shift, margin_cosine, margin_derivative
from mxface.ranks import Ranks

logger = logging.getLogger(__name__)

WEIGHT, BIAS = "fc7_weight", "fc7_bias"
SHARDED = (WEIGHT, BIAS, f"{WEIGHT}_momentum", f"{BIAS}_momentum")  # tensors whose rows are split over ranks
INITIAL_SIGMA = 0.01

Kind = Literal["softmax", "margin_softmax"]
NO_MULTIPLIERS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The head's task. `s`, `m1`, `m2`, `m3` are for margin_softmax, `no_bias` for softmax (the other has none)."""

    num_classes: int
    emb_size: int
    kind: Kind = "margin_softmax"
    s: float = 64.0
    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0
    no_bias: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("softmax", "margin_softmax"):
            raise ConfigError(f"loss_name is {self.kind!r}: expected 'softmax' or 'margin_softmax'")
        if self.num_classes < 1 or self.emb_size < 1:
            raise ConfigError(f"num_classes is {self.num_classes} and emb_size {self.emb_size}: both must be above 0")
        if self.is_margin and (self.s <= 0 or self.m1 < 0):
            raise ConfigError(
                f"loss_s is {self.s} and loss_m1 {self.m1}: a scale above 0, an angle's factor of 0 or more"
            )
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
    """Mean cross entropy (scalar); per row (B,): cross entropy, and whether the label's logit is above all others.

    Of the rows of all ranks, in their order, and the same on every rank.
    """

    loss: Tensor
    cross_entropy: Tensor
    correct: Tensor


def accept(output: HeadOutput) -> None:
    """The check that lets every step pass."""


class SoftmaxHead(nn.Module):
    """fc7 over `config.num_classes` classes, initialised Normal(0.01) from `generator`.

    `product_dtype` torch.bfloat16 makes the products of `step` cheaper; the target's cosine and all sums stay exact.
    The momentum buffers belong to the module, so its state_dict resumes a run. Of `SHARDED` tensors each of `ranks` has
    the rows of its own `class_range`; the start and the steps are those of one rank.

    `sample_rate` r below 1 is partial FC (An et al. 2021): a step sees the classes of its labels and others at random,
    ceil(r * classes) of each rank in all. The softmax is over these; all other rows of weight, bias and momentum stay
    as they are, without decay. The draw follows from (`seed`, step, rank).
    """

    fc7_weight_momentum: Tensor
    fc7_bias_momentum: Tensor | None

    def __init__(
        self,
        config: HeadConfig,
        *,
        generator: torch.Generator | None = None,
        product_dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        ranks: Ranks = Ranks.single(),  # noqa: B008 (frozen)
        sample_rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < sample_rate <= 1:
            raise ConfigError(f"sample_rate is {sample_rate}: expected a share of the classes above 0, at most 1")
        self.config = config
        self.product_dtype = product_dtype
        self.ranks = ranks
        self.sample_rate = sample_rate
        self.class_range = class_range(config.num_classes, ranks)
        self._seed = seed
        self._workspace = Workspace()
        shape = (config.num_classes, config.emb_size)  # drawn on the CPU: the same start on every device
        weight = normal_rows(shape, self.class_range, INITIAL_SIGMA, generator=generator, dtype=dtype)
        self.fc7_weight = nn.Parameter(weight.to(device))
        self.fc7_bias = nn.Parameter(self.fc7_weight.new_zeros(len(weight))) if config.has_bias else None
        self.register_buffer("fc7_weight_momentum", torch.zeros_like(self.fc7_weight))
        self.register_buffer("fc7_bias_momentum", None if self.fc7_bias is None else torch.zeros_like(self.fc7_bias))

    @property
    def num_rows(self) -> int:
        """Rows of fc7_weight on this rank."""
        return len(self.fc7_weight)

    def logits(self, embedding: Tensor, label: Tensor) -> Tensor:
        """Logits (B, C) with the margin, for autograd; on one rank, of all classes."""
        assert self.ranks.count == 1
        if not self.config.is_margin:
            return F.linear(embedding, self.fc7_weight, self.fc7_bias)
        cosine = F.linear(embedding / l2_norm(embedding), self.fc7_weight / l2_norm(self.fc7_weight))
        column = label.unsqueeze(1)
        target = margin_cosine(cosine.gather(1, column), self.config.m1, self.config.m2, self.config.m3)
        return self.config.s * cosine.scatter(1, column, target)

    def forward(self, embedding: Tensor, label: Tensor) -> HeadOutput:
        """The reference: the graph of 2019 under autograd. embedding (B, D), label (B,) int64."""
        logits, column = self.logits(embedding, label), label.unsqueeze(1)
        cross_entropy = F.cross_entropy(logits, label, reduction="none")
        best_other = logits.scatter(1, column, -torch.inf).amax(dim=1, keepdim=True)
        return HeadOutput(cross_entropy.mean(), cross_entropy, (logits.gather(1, column) > best_other).squeeze(1))

    @torch.no_grad()
    def step(
        self,
        embedding: Tensor,
        label: Tensor,
        *,
        lr: float,
        momentum: float,
        wd: float,
        rescale: float = 1.0,
        lr_mult: Mapping[str, float] = NO_MULTIPLIERS,
        wd_mult: Mapping[str, float] = NO_MULTIPLIERS,
        check: Callable[[HeadOutput], None] = accept,
        step: int = 0,
    ) -> tuple[HeadOutput, Tensor]:
        """One SGD step of the head; the same numbers as `forward`, `backward` and `train.optimizer.SGD`.

        Takes the embeddings (b, D) and labels (b,) of this rank, b the same on all. Returns the output of all B rows
        and the gradient (b, D) of the mean loss over B, to go on with `embedding.backward(gradient)`.
        `rescale` multiplies the gradients of fc7 only. `check` is called before anything is changed and may raise: it
        sees the same on every rank. `step` chooses the sample of classes.
        """
        with torch.autocast(embedding.device.type, enabled=False):  # only the products may be rough
            features = self.ranks.gather_rows(embedding).to(self.fc7_weight.dtype)
            row = self._own_rows(self.ranks.gather_rows(label))
            norm = l2_norm(features)
            if self.config.is_margin:
                features = features / norm
            centres = self._centres(row, step)
            target = self._target(features, row, centres.position(row))
            fused = FusedStep(
                features,
                target,
                centres,
                scale=self.config.s if self.config.is_margin else None,
                product_dtype=self.product_dtype or self.fc7_weight.dtype,
                workspace=self._workspace,
            )
            scores = fused.score().over(self.ranks)
            cross_entropy = -F.logsigmoid(target.logit - scores.log_others)
            output = HeadOutput(cross_entropy.mean(), cross_entropy, target.logit > scores.best_other)
            check(output)
            rates = (
                SgdRate(lr * lr_mult.get(name, 1.0), momentum, wd * wd_mult.get(name, 1.0), rescale)
                for name in (WEIGHT, BIAS)
            )
            grad = self.ranks.sum_(fused.update(scores, *rates))
            if self.config.is_margin:
                grad = (grad - torch.linalg.vecdot(grad, features).unsqueeze(1) * features) / norm
            start = self.ranks.rank * len(embedding)
            return output, grad[start : start + len(embedding)].to(embedding.dtype)

    def _own_rows(self, label: Tensor) -> Tensor:
        """Where the centres of `label` (B,) are among the rows of this rank; NO_ROW for those of other ranks."""
        own = (label >= self.class_range.start) & (label < self.class_range.stop)
        return torch.where(own, label - self.class_range.start, NO_ROW)

    def _centres(self, row: Tensor, step: int) -> Centres:
        """The rows of this step; `row` (B,) are those of its labels."""
        tensors = Chunk(self.fc7_weight, self.fc7_weight_momentum, self.fc7_bias, self.fc7_bias_momentum)
        if self.sample_rate == 1:
            return Centres(tensors)
        generator = sampling_generator(self._seed, step, self.ranks.rank, row.device)
        sample = sample_rows(row[row != NO_ROW], self.num_rows, self.sample_rate, generator)
        return SampledCentres(tensors, sample, self._workspace)

    def _target(self, features: Tensor, row: Tensor, position: Tensor) -> Target:
        """The target's logits, in full precision whatever the products are; the same on every rank."""
        plain = self.ranks.sum_(self._own_target(features, row))
        if not self.config.is_margin:
            return Target(position, plain, plain, torch.ones_like(plain))
        s, m1, m2, m3 = self.config.s, self.config.m1, self.config.m2, self.config.m3
        return Target(position, s * plain, s * margin_cosine(plain, m1, m2, m3), margin_derivative(plain, m1, m2))

    def _own_target(self, features: Tensor, row: Tensor) -> Tensor:
        """The target's cosine or plain logit, (B,); 0 where its centre is another rank's."""
        own = (row != NO_ROW).nonzero().squeeze(1)
        centre = self.fc7_weight[row[own]]
        value = torch.linalg.vecdot(features[own], centre)
        if self.config.is_margin:
            value = value / l2_norm(centre).squeeze(1)
        elif self.fc7_bias is not None:
            value = value + self.fc7_bias[row[own]]
        return features.new_zeros(len(features)).index_copy_(0, own, value)
