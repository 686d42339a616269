"""Softmax over very many classes: two passes over the class centres, chunk by chunk; their gradient is never kept.

The first pass finds log-sum-exp of all logits but the target's (running maximum, so any scale is safe); the second
turns each chunk's logits into their gradient, adds its share to the features' gradient and moves the chunk's centres in
place. The target stays apart, so that nothing cancels where its probability is near 1.

Where classes are split over ranks, each has all features and its own centres: only two (B,) vectors join the softmax,
and the features' gradient is a sum over ranks (`softmax_head`).

Legend: B batch, C classes here, D embedding size, K classes of one chunk. Logits lie as (C, B).
    cosine logits   z = s * x.w / |w|       the features x are normalised rows
    plain logits    z = x.w (+ bias)
The products x.w may be bfloat16; the target's logit, the softmax, the sums, the centres and their momentum are not.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mxface.losses.centres import Centres, Chunk, Workspace
from mxface.losses.margin import ChangeOthers
from mxface.ranks import Ranks

LOG2_E = math.log2(math.e)
NORM_EPSILON = 1e-10  # MXNet's L2Normalization: x / sqrt(sum x^2 + 1e-10)
CHUNK_CLASSES = {"cpu": 2048, "cuda": 131072}  # CPU: a chunk stays in the cache; GPU: few launches (docs/LOG.md)
KEPT_PRODUCT_BYTES = 128 << 20  # above it the second pass computes the products again: no (C, B) of float32 for large C


class Target(NamedTuple):
    """Of each row's target class, all (B,): its plain logit, the logit with the margin, d logit / d plain_logit.

    `position` is where its centre stands among the centres here; centres.NO_ROW where it is another rank's. `pull` is
    the derivative by the plain logit of what the row's loss has beside the cross entropy; None where that is nothing.
    """

    position: Tensor
    plain_logit: Tensor
    logit: Tensor
    slope: Tensor
    pull: Tensor | None = None


class Scores(NamedTuple):
    """Of all logits but the target's, both (B,): the largest, and the sum of exp(logit - largest)."""

    best_other: Tensor
    total: Tensor

    @property
    def log_others(self) -> Tensor:
        """Log-sum-exp."""
        return self.best_other + self.total.log()

    def over(self, ranks: Ranks) -> Scores:
        """The same of the classes of all ranks."""
        if ranks.count == 1:
            return self
        best = ranks.max_(self.best_other.clone())
        return Scores(best, ranks.sum_(self.total * torch.exp(self.best_other - best)))


class SgdRate(NamedTuple):
    """MXNet's SGD for one parameter w: v = momentum * v - lr * (rescale * gradient + wd * w); w += v."""

    lr: float
    momentum: float
    wd: float
    rescale: float = 1.0


class FusedStep:
    """The two passes for one batch: `score`, then `update`.

    `features` (B, D) have the dtype of the centres; `scale` is s where logits are cosines, None where they are plain.
    `others` is what a loss makes of the other classes' logits. A class has `group` centres, one after the other: all of
    the target's class count as the target.
    """

    def __init__(
        self,
        features: Tensor,
        target: Target,
        centres: Centres,
        *,
        scale: float | None,
        product_dtype: torch.dtype,
        workspace: Workspace,
        others: ChangeOthers | None = None,
        group: int = 1,
    ) -> None:
        self._features = features
        self._centres = centres
        self._target_row = target.position.argsort()  # by class: those of a chunk are a slice
        self._target = Target(*(None if values is None else values[self._target_row] for values in target))  # type: ignore[arg-type]
        self._target_class = self._target.position.tolist()
        self._scale = scale
        self._product_dtype = product_dtype
        self._workspace = workspace
        self._others = others
        self._group = group
        self._num_classes, self._batch_size = centres.num_rows, len(features)
        self._keeps_products = self._num_classes * self._batch_size * product_dtype.itemsize <= KEPT_PRODUCT_BYTES
        self._product_features = self._as_product("features", features)
        self._row_scale = workspace.matrix("row_scale", (self._num_classes, 1), like=features)  # s / |w|

    def score(self) -> Scores:
        """First pass."""
        best = torch.full_like(self._target.logit, torch.finfo(self._features.dtype).min)
        total = torch.zeros_like(best)
        for start, stop in self._chunks():
            weight, bias = self._centres.read(start, stop)
            if self._scale is not None:
                torch.div(self._scale, l2_norm(weight), out=self._row_scale[start:stop])
            logits = self._logits(start, stop, weight, bias, second_pass=False)
            if self._others is not None:
                logits, _ = self._others(logits)
            logits[self._target_group(start, stop)] = -torch.inf
            new_best = torch.maximum(best, logits.amax(dim=0))
            total.mul_(torch.exp(best - new_best)).add_(exp_(logits.sub_(new_best)).sum(dim=0))
            best = new_best
        return Scores(best, total)

    def update(self, scores: Scores, weight_rate: SgdRate, bias_rate: SgdRate) -> Tensor:
        """Second pass: move the centres; return the gradient (B, D) of the mean cross entropy by the features.

        `scores` are those of the classes of all ranks; the gradient is what the centres here contribute to it.
        """
        grad_features = torch.zeros_like(self._features)
        log_others = scores.log_others[self._target_row]
        grad_target = torch.sigmoid(log_others - self._target.logit) * self._target.slope / -self._batch_size
        if self._target.pull is not None:
            grad_target += self._target.pull / self._batch_size
        log_denominator = torch.empty_like(log_others)
        log_denominator[self._target_row] = torch.logaddexp(log_others, self._target.logit)
        share = log_denominator + math.log(self._batch_size)  # exp(z - share) is d mean cross entropy / d z
        for start, stop in self._chunks():
            chunk = self._centres.take(start, stop)
            logits = self._logits(start, stop, chunk.weight, chunk.bias, second_pass=True)
            if self._others is None:
                grad_logits = exp_(torch.sub(logits, share, out=self._matrix("grad", logits.shape)))
            else:
                changed, slope = self._others(logits)
                grad_logits = exp_(changed.sub_(share)).mul_(slope)
            if self._group > 1:
                grad_logits[self._target_group(start, stop)] = 0
            inside, cells = self._targets(start, stop)
            grad_logits[cells], logits[cells] = grad_target[inside], self._target.plain_logit[inside]
            self._move_bias(chunk, grad_logits, bias_rate)
            self._move_weight(chunk, self._row_scale[start:stop], grad_logits, logits, weight_rate, grad_features)
            self._centres.put(start, stop, chunk)
        return grad_features

    def _chunks(self) -> Iterator[tuple[int, int]]:
        size = CHUNK_CLASSES[self._features.device.type]
        size = max(size - size % self._group, self._group)
        for start in range(0, self._num_classes, size):
            yield start, min(start + size, self._num_classes)

    def _logits(self, start: int, stop: int, weight: Tensor, bias: Tensor | None, *, second_pass: bool) -> Tensor:
        """Logits (K, B) of one chunk, without the margin."""
        products = self._products(start, stop, weight, second_pass=second_pass)
        logits = self._matrix("logits", products.shape)
        if self._scale is not None:
            return torch.mul(products, self._row_scale[start:stop], out=logits)
        if bias is not None:
            return torch.add(products, bias.unsqueeze(1), out=logits)
        return logits.copy_(products)

    def _products(self, start: int, stop: int, weight: Tensor, *, second_pass: bool) -> Tensor:
        """w.x of one chunk, (K, B)."""
        rows = self._num_classes if self._keeps_products else stop - start
        products = self._matrix("products", (rows, self._batch_size), self._product_dtype)
        if self._keeps_products:
            products = products[start:stop]
            if second_pass:
                return products
        return torch.mm(self._as_product("weight", weight), self._product_features.t(), out=products)

    def _targets(self, start: int, stop: int) -> tuple[slice, tuple[Tensor, Tensor]]:
        """The targets among rows [start, stop): which of `_target`, and their cells in the (K, B) logits."""
        inside = slice(bisect_left(self._target_class, start), bisect_left(self._target_class, stop))
        return inside, (self._target.position[inside] - start, self._target_row[inside])

    def _target_group(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The cells of all centres of the targets' classes among rows [start, stop)."""
        _, (row, column) = self._targets(start, stop)
        if self._group == 1:
            return row, column
        members = torch.arange(self._group, device=row.device)
        return (row - row % self._group).unsqueeze(1) + members, column.unsqueeze(1)

    def _move_bias(self, chunk: Chunk, grad_logits: Tensor, rate: SgdRate) -> None:
        if chunk.bias is None or chunk.bias_momentum is None:
            return
        chunk.bias_momentum.mul_(rate.momentum).sub_(grad_logits.sum(dim=1), alpha=rate.lr * rate.rescale)
        chunk.bias.add_(chunk.bias_momentum.sub_(chunk.bias, alpha=rate.lr * rate.wd))

    def _move_weight(
        self, chunk: Chunk, row_scale: Tensor, grad_logits: Tensor, logits: Tensor, rate: SgdRate, grad_features: Tensor
    ) -> None:
        """Use up `grad_logits` and `logits`. Of cosines, dz/dw = s/|w| * x - z/|w|^2 * w and dz/dx = s/|w| * w."""
        weight, momentum = chunk.weight, chunk.weight_momentum
        shrink = torch.full_like(grad_logits[:, :1], rate.wd)
        if self._scale is not None:
            radial = logits.mul_(grad_logits).sum(dim=1, keepdim=True) * (row_scale / self._scale) ** 2
            shrink -= rate.rescale * radial
            grad_logits.mul_(row_scale)
        product_grad = self._as_product("product_grad", grad_logits)
        grad_features += self._product("feature product", product_grad.t(), self._as_product("weight", weight))
        push = self._as_product("product_grad", grad_logits.mul_(-rate.lr * rate.rescale))
        step = self._product("centre product", push, self._product_features)
        sgd_(weight, momentum, step.addcmul_(weight, shrink, value=-rate.lr), rate.momentum)

    def _product(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """left @ right, computed in its own precision, in that of the features."""
        shape = (len(left), right.shape[1])
        product = torch.mm(left, right, out=self._matrix(f"{name}, rough", shape, self._product_dtype))
        return product if product.dtype == self._features.dtype else self._matrix(name, shape).copy_(product)

    def _as_product(self, name: str, values: Tensor) -> Tensor:
        """`values` in the products' precision."""
        if values.dtype == self._product_dtype:
            return values
        return self._matrix(name, values.shape, self._product_dtype).copy_(values)

    def _matrix(self, name: str, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        return self._workspace.matrix(name, shape, self._features, dtype)


def l2_norm(rows: Tensor) -> Tensor:
    """(N, D) -> (N, 1), with MXNet's epsilon under the root."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # writes no (N, D) of squares
    return torch.hypot(norm, norm.new_tensor(math.sqrt(NORM_EPSILON)))


def sgd_(weight: Tensor, momentum: Tensor, step: Tensor, factor: float) -> None:
    """momentum = factor * momentum + step; weight += momentum. In one pass: memory is what costs with bf16 products."""
    if factor == 0:  # torch's kernel keeps no momentum then
        weight.add_(momentum.copy_(step))
        return
    torch._fused_sgd_(
        [weight], [step], [momentum], weight_decay=0.0, momentum=factor, lr=-1.0, dampening=0.0, nesterov=False,
        maximize=False, is_first_step=False,
    )  # fmt: skip


def exp_(values: Tensor) -> Tensor:
    """exp in place. By exp2: torch's exp is MKL's, and four times as slow on AMD."""
    return values.mul_(LOG2_E).exp2_()
