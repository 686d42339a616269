"""What is trained: for each stride the classes of mined anchors, and boxes and landmarks of the faces among them."""

from __future__ import annotations

from mxface.graph import Symbol, Variable, sym
from mxface.ops import OPS
from mxface.symbols.retinaface.heads import Anchors
from mxface.symbols.retinaface.options import RetinaFaceOptions

HEAD_LR_MULT = 0.5
SIGMA = 3.0
"""Of smooth L1."""


def stride_losses(anchors: Anchors, *, lr_mult: float, landmarks: bool) -> list[Symbol]:
    """[class probabilities, mined labels, box loss, box weights(, landmark loss, landmark weights)]."""
    options = anchors.options
    pairs = sym.Reshape(data=anchors.class_scores(), shape=(0, 2, -1), name=anchors.name("rpn_cls_score_reshape"))
    labels, weight, count = sym.Custom(
        cls_score=pairs,
        labels=Variable(anchors.name("label")),
        op_type="rpn_fpn_ohem3",
        stride=anchors.stride,
        network=options.network,
        dataset=options.dataset,
        prefix=anchors.prefix,
        **mining_numbers(options),
    )
    probabilities = sym.SoftmaxOutput(
        data=pairs,
        label=labels,
        multi_output=True,
        normalization="valid",
        use_ignore=True,
        ignore_label=-1,
        grad_scale=lr_mult,
        name=anchors.name("rpn_cls_prob"),
    )
    parts = [probabilities, sym.BlockGrad(labels)]
    faces = sym.sum(count) + 0.001 if options.lr_mode else None
    box_scale, landmark_scale = box_loss_scales(anchors, lr_mult)
    parts += regression_loss(anchors, "bbox", anchors.boxes(), options.box_values, weight, faces, box_scale)
    if landmarks:
        values = options.landmark_values
        parts += regression_loss(anchors, "landmark", anchors.landmarks(), values, weight, faces, landmark_scale)
    return parts


def mining_numbers(options: RetinaFaceOptions) -> dict[str, float]:
    """Attributes that 2019's operator did not have, where they differ from the defaults: else the graph is 2019's."""
    return {
        name: getattr(options, name)
        for name in ("num_anchors", "rpn_batch_size", "rpn_fg_fraction")
        if getattr(options, name) != OPS["Custom"].params[name].default
    }


def box_loss_scales(anchors: Anchors, lr_mult: float) -> tuple[float, float]:
    """Gradient scales of the box and the landmark loss."""
    options = anchors.options
    if options.lr_mode:
        return 0.25 * lr_mult, 0.1 * options.landmark_lr_mult * lr_mult
    return lr_mult / options.rpn_batch_size, 0.4 * options.landmark_lr_mult * lr_mult / options.rpn_batch_size


def regression_loss(
    anchors: Anchors, kind: str, prediction: Symbol, values: int, weight: Symbol, faces: Symbol | None, scale: float
) -> list[Symbol]:
    """Smooth L1 of what the mined faces are off, and the weights that say which these are.

    `weight` (N, P, 1) is that of each anchor, position by position; `faces` how many there are, to divide by.
    """
    flat = sym.Reshape(data=prediction, shape=(0, 0, -1), name=anchors.name(f"rpn_{kind}_pred_reshape"))
    distance = flat - Variable(anchors.name(f"{kind}_target"))
    spread = sym.Reshape(sym.tile(weight, reps=(1, 1, values)), shape=(0, -1, anchors.options.num_anchors * values))
    weights = sym.elemwise_mul(
        Variable(anchors.name(f"{kind}_weight")),
        sym.transpose(spread, axes=(0, 2, 1)),
        name=anchors.name(f"{kind}_weight_mul"),
    )
    name = anchors.name(f"rpn_{kind}_loss")
    loss = sym.smooth_l1(distance * weights, scalar=SIGMA, name=f"{name}_")
    if faces is not None:
        loss = sym.broadcast_div(loss, faces)
    return [sym.MakeLoss(loss, grad_scale=scale, name=name), sym.BlockGrad(weights)]
