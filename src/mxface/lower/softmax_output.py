"""SoftmaxOutput: softmax forward; backward, the gradient of the cross-entropy that it stands for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mxface.errors import GraphError
from mxface.lower.gradient import apply
from mxface.lower.registry import lowers


class GradientRule(NamedTuple):
    """How MXNet scales the gradient."""

    multi_output: bool
    grad_scale: float
    normalization: str
    ignore_label: int | None
    valid_excludes: int


class SoftmaxOutput(torch.autograd.Function):
    """Softmax over `axis`; its gradient is (probability - target), scaled, whatever comes from above."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, label: Tensor, axis: int, rule: GradientRule) -> Tensor:
        probability = torch.softmax(data, axis)
        ctx.save_for_backward(probability, label)
        ctx.axis, ctx.rule = axis, rule
        return probability

    @staticmethod
    def backward(ctx: Any, _grad: Tensor) -> tuple[Tensor, None, None, None]:
        probability, label = ctx.saved_tensors
        rule: GradientRule = ctx.rule
        if label.shape == probability.shape:  # the target is a distribution
            return (probability - label) * rule.grad_scale, None, None, None
        return _gradient_of_classes(probability, label, ctx.axis, rule), None, None, None


def _gradient_of_classes(probability: Tensor, label: Tensor, axis: int, rule: GradientRule) -> Tensor:
    classes = probability.shape[axis]
    kept_shape = [1 if i == axis % probability.dim() else size for i, size in enumerate(probability.shape)]
    target = label.long().reshape(kept_shape)
    in_range = (target >= 0) & (target < classes)  # a label outside has no class to pull up: MXNet only pushes down
    gradient = probability.scatter_add(axis, target.clamp(0, classes - 1), -in_range.to(probability.dtype))
    if rule.ignore_label is not None:
        gradient = gradient.masked_fill(target == rule.ignore_label, 0.0)
    return gradient * (rule.grad_scale / _divisor(target, rule))


def _divisor(target: Tensor, rule: GradientRule) -> float:
    if rule.normalization == "valid":
        return max(1, int((target != rule.valid_excludes).sum()))
    batch = target.shape[0] if rule.normalization == "batch" else 1
    return batch * (target.numel() // target.shape[0] if rule.multi_output else 1)


@lowers("SoftmaxOutput", optional=("label",), only={"smooth_alpha": (0.0,), "out_grad": (False,)})
def softmax_output(
    data: Tensor,
    label: Tensor | None = None,
    *,
    multi_output: bool = False,
    preserve_shape: bool = False,
    grad_scale: float = 1.0,
    normalization: str = "null",
    use_ignore: bool = False,
    ignore_label: float = -1.0,
) -> Tensor:
    """Over the channels (`multi_output`), the last axis (`preserve_shape`), or all of an instance.

    `label` holds class numbers, or a distribution of `data`'s shape; inference does without.
    """
    if not multi_output and not preserve_shape and data.dim() > 2:
        if label is not None:
            raise GraphError(f"SoftmaxOutput of shape {tuple(data.shape)} needs multi_output or preserve_shape")
        return torch.softmax(data.flatten(1), 1).view_as(data)
    axis = 1 if multi_output else -1
    if label is None:
        return torch.softmax(data, axis)
    excluded = int(ignore_label)
    rule = GradientRule(multi_output, grad_scale, normalization, excluded if use_ignore else None, excluded)
    return apply(SoftmaxOutput, data, label, axis, rule)
