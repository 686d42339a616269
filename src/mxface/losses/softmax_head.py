"""The classification head fc7: plain softmax and 2019's margin softmax, as an autograd graph and as one fused step.

    softmax          z = fc7_weight . e (+ fc7_bias)
    margin_softmax   z_c = s * cos_c,  z_y = s * m(cos_y);  cos between embedding and centre, m of `losses.margin`

Other losses on cosines are rules (`losses.margin.MarginRule`), which may change the other logits, too, and add to the
loss. It is the mean cross entropy of z, so loss and accuracy carry the margin, as in 2019: log-sum-exp(z) - z_y, finite
where 2019's -log(softmax) underflowed to inf. Source: spec recognition §3.

On many ranks each holds the centres of its own classes only. A step gathers the embeddings of all ranks, so that
every centre meets every embedding and the softmax is exact. The centres never travel: (B, D) embeddings and their
gradient do, and four (B,) vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mxface.errors import ConfigError
from mxface.losses.additions import Additions
from mxface.losses.centre_loss import CentreLoss
from mxface.losses.centres import NO_ROW, Centres, Chunk, SampledCentres, Workspace
from mxface.losses.class_shard import class_range, normal_rows, sample_rows, sampling_generator
from mxface.losses.fused_softmax import FusedStep, SgdRate, Target, l2_norm
from mxface.losses.head_config import NO_MULTIPLIERS, HeadConfig, HeadOutput, accept
from mxface.losses.inter import InterLoss
from mxface.losses.margin import BatchRows, ChangeOthers, CombinedMargin, MarginRule, TargetMargin
from mxface.losses.sub_centre import keep_nearest, nearest_centre, rows_of_classes
from mxface.ranks import Ranks

WEIGHT, BIAS = "fc7_weight", "fc7_bias"
# tensors whose rows are split over ranks
SHARDED = (WEIGHT, BIAS, f"{WEIGHT}_momentum", f"{BIAS}_momentum", "centre_loss.centres")
INITIAL_SIGMA = 0.01


class SoftmaxHead(nn.Module):
    """fc7 over `config.num_classes` classes, initialised Normal(0.01) from `generator`.

    `product_dtype` torch.bfloat16 makes the products of `step` cheaper; the target's cosine and all sums stay exact.
    The momentum buffers belong to the module, so its state_dict resumes a run. Of `SHARDED` tensors each of `ranks` has
    the rows of its own `class_range`; the start and the steps are those of one rank.

    `rule` is the loss on cosines; by default the margin of `config`. `margin_share` may be set between steps: how much
    of its margin counts, from 0 to 1.

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
        rule: MarginRule | None = None,
    ) -> None:
        super().__init__()
        self.rule = rule or CombinedMargin(config.m1, config.m2, config.m3)
        if config.sub_centres > 1 and self.rule.changes_others:
            raise ConfigError(f"loss_sub_centres is {config.sub_centres}: {type(self.rule).__name__} has one centre")
        if config.inter_weight > 0 and sample_rate < 1:
            raise ConfigError(f"sample_rate is {sample_rate}: the inter loss needs all classes, --sample-rate 1")
        if not 0 < sample_rate <= 1:
            raise ConfigError(f"sample_rate is {sample_rate}: expected a share of the classes above 0, at most 1")
        self.config = config
        self.product_dtype = product_dtype
        self.ranks = ranks
        self.sample_rate = sample_rate
        self.class_range = class_range(config.num_classes, ranks)
        self._seed = seed
        self._workspace = Workspace()
        shape = (config.num_classes, config.sub_centres * config.emb_size)
        # drawn on the CPU: the same start on every device
        weight = normal_rows(shape, self.class_range, INITIAL_SIGMA, generator=generator, dtype=dtype)
        if config.sub_centres > 1:
            weight = weight.view(-1, config.sub_centres, config.emb_size)
        self.fc7_weight = nn.Parameter(weight.to(device))
        self.fc7_bias = nn.Parameter(self.fc7_weight.new_zeros(len(weight))) if config.has_bias else None
        self.register_buffer("fc7_weight_momentum", torch.zeros_like(self.fc7_weight))
        self.register_buffer("fc7_bias_momentum", None if self.fc7_bias is None else torch.zeros_like(self.fc7_bias))
        self.centre_loss: CentreLoss | None = None
        if config.centre_weight > 0:
            centres = CentreLoss(
                len(weight), config.emb_size, weight=config.centre_weight, alpha=config.centre_alpha, dtype=dtype
            )
            self.centre_loss = centres.to(device)

    @property
    def margin_share(self) -> float:
        """How much of the margin counts now."""
        return self.rule.share

    @margin_share.setter
    def margin_share(self, share: float) -> None:
        self.rule.share = share

    @property
    def num_rows(self) -> int:
        """Rows of fc7_weight on this rank, one a class."""
        return len(self.fc7_weight)

    def logits(self, embedding: Tensor, label: Tensor) -> Tensor:
        """Logits (B, C) with the margin, for autograd; on one rank, of all classes."""
        return self._dense(embedding, label)[0]

    def forward(self, embedding: Tensor, label: Tensor) -> HeadOutput:
        """The reference: the whole loss under autograd. embedding (B, D), label (B,) int64."""
        (logits, penalty), column = self._dense(embedding, label), label.unsqueeze(1)
        cross_entropy = F.cross_entropy(logits, label, reduction="none")
        best_other = logits.scatter(1, column, -torch.inf).amax(dim=1, keepdim=True)
        loss = cross_entropy.mean()
        if penalty is not None:
            loss = loss + penalty.mean()
        inter = self._inter_loss(label)
        if inter is not None:
            loss = loss + inter.value()
        if self.centre_loss is not None:
            loss = loss + self.centre_loss.value(self.centre_loss.pull(embedding, label))
        return HeadOutput(loss, cross_entropy, (logits.gather(1, column) > best_other).squeeze(1))

    def _dense(self, embedding: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C) and the rule's penalty (B,)."""
        assert self.ranks.count == 1
        if not self.config.is_margin:
            return F.linear(embedding, self.fc7_weight, self.fc7_bias), None
        weight = as_rows(self.fc7_weight)
        norm = l2_norm(embedding)
        cosine = F.linear(embedding / norm, weight / l2_norm(weight))
        if self.config.sub_centres > 1:
            cosine = cosine.view(len(cosine), -1, self.config.sub_centres).amax(dim=2)
        column = label.unsqueeze(1)
        rows = BatchRows(cosine.gather(1, column).squeeze(1), norm.squeeze(1))
        target = self.rule.target(rows)
        change = self.rule.others(rows, self.config.s)
        if change is not None:
            cosine = change(self.config.s * cosine.t())[0].t() / self.config.s
        return self.config.s * cosine.scatter(1, column, target.cosine.unsqueeze(1)), target.penalty

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
            embeddings = self.ranks.gather_rows(embedding).to(self.fc7_weight.dtype)
            row = self._own_rows(self.ranks.gather_rows(label))
            norm = l2_norm(embeddings)
            scale = self.config.s if self.config.is_margin else None
            features = embeddings / norm if self.config.is_margin else embeddings
            centres = self._centres(row, step)
            plain, centre_row = self._plain_target(features, row)
            rows = BatchRows(plain, norm.squeeze(1))
            margin = self.rule.target(rows) if self.config.is_margin else TargetMargin(plain, torch.ones_like(plain))
            target = self._target(rows, margin, centres.position(centre_row))
            fused = FusedStep(
                features,
                target,
                centres,
                scale=scale,
                product_dtype=self.product_dtype or self.fc7_weight.dtype,
                workspace=self._workspace,
                others=self._others(rows),
                group=self.config.sub_centres,
            )
            scores = fused.score().over(self.ranks)
            cross_entropy = -F.logsigmoid(target.logit - scores.log_others)
            additions = self._additions(embeddings, row, margin)
            loss = additions.to_loss(cross_entropy.mean())
            output = HeadOutput(loss, cross_entropy, target.logit > scores.best_other)
            check(output)
            self.rule.learn(rows)
            weight_rate, bias_rate = (
                SgdRate(lr * lr_mult.get(name, 1.0), momentum, wd * wd_mult.get(name, 1.0), rescale)
                for name in (WEIGHT, BIAS)
            )
            grad = self.ranks.sum_(fused.update(scores, weight_rate, bias_rate))
            if self.config.is_margin:
                grad = (grad - torch.linalg.vecdot(grad, features).unsqueeze(1) * features) / norm
            grad = additions.to_gradient(grad, target, scores, features, scale)
            additions.update(self.fc7_weight, self.fc7_weight_momentum, weight_rate)
            start = self.ranks.rank * len(embedding)
            return output, grad[start : start + len(embedding)].to(embedding.dtype)

    def _own_rows(self, label: Tensor) -> Tensor:
        """Where the centres of `label` (B,) are among the rows of this rank; NO_ROW for those of other ranks."""
        own = (label >= self.class_range.start) & (label < self.class_range.stop)
        return torch.where(own, label - self.class_range.start, NO_ROW)

    def _centres(self, row: Tensor, step: int) -> Centres:
        """The centres of this step, as rows; `row` (B,) are those of its labels' classes."""
        weight, momentum = (as_rows(tensor) for tensor in (self.fc7_weight, self.fc7_weight_momentum))
        tensors = Chunk(weight, momentum, self.fc7_bias, self.fc7_bias_momentum)
        if self.sample_rate == 1:
            return Centres(tensors)
        generator = sampling_generator(self._seed, step, self.ranks.rank, row.device)
        sample = sample_rows(row[row != NO_ROW], self.num_rows, self.sample_rate, generator)
        if self.config.sub_centres > 1:
            sample = rows_of_classes(sample, self.config.sub_centres)
        return SampledCentres(tensors, sample, self._workspace)

    def _plain_target(self, features: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """The target's cosine or plain logit (B,), in full precision whatever the products are, the same on every rank.

        And which of this rank's centres, as rows, it is to (B,): the nearest of the class; NO_ROW for another rank's.
        """
        own = (row != NO_ROW).nonzero().squeeze(1)
        centre_row = row
        if self.config.sub_centres > 1:
            centre = self.fc7_weight[row[own]]  # (b, K, D)
            product = torch.linalg.vecdot(features[own].unsqueeze(1), centre)
            value, nearest = nearest_centre(product / l2_norm(as_rows(centre)).view_as(product))
            centre_row = row.index_copy(0, own, row[own] * self.config.sub_centres + nearest)
        else:
            centre = self.fc7_weight[row[own]]
            value = torch.linalg.vecdot(features[own], centre)
            if self.config.is_margin:
                value = value / l2_norm(centre).squeeze(1)
            elif self.fc7_bias is not None:
                value = value + self.fc7_bias[row[own]]
        plain = features.new_zeros(len(features)).index_copy_(0, own, value)
        return self.ranks.sum_(plain), centre_row

    def _target(self, rows: BatchRows, margin: TargetMargin, position: Tensor) -> Target:
        """The target's logits under the margin."""
        if not self.config.is_margin:
            return Target(position, rows.cosine, margin.cosine, margin.slope)
        s = self.config.s
        pull = None if margin.penalty_slope is None else margin.penalty_slope / s
        return Target(position, s * rows.cosine, s * margin.cosine, margin.slope, pull)

    def _others(self, rows: BatchRows) -> ChangeOthers | None:
        """What becomes of the logits of other classes."""
        if self.config.sub_centres > 1:
            return keep_nearest(self.config.sub_centres)
        return self.rule.others(rows, self.config.s) if self.config.is_margin else None

    def _additions(self, embeddings: Tensor, row: Tensor, margin: TargetMargin) -> Additions:
        """What is added to the cross entropy; `row` (B,) are the classes here."""
        inter = self._inter_loss(row)
        return Additions(embeddings, row, margin=margin, inter=inter, centre_loss=self.centre_loss, ranks=self.ranks)

    def _inter_loss(self, row: Tensor) -> InterLoss | None:
        """The loss between centres of a batch whose classes are at `row` (B,) here."""
        factor, num_classes = self.config.inter_weight, self.config.num_classes
        if factor == 0:
            return None
        return InterLoss(self.fc7_weight, row, factor=factor, num_classes=num_classes, ranks=self.ranks)


def as_rows(centres: Tensor) -> Tensor:
    """(C, D) or (C, K, D) as rows of D, a view."""
    return centres if centres.ndim == 2 else centres.flatten(0, 1)
