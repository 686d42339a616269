"""RetinaFace (mnet, resnet): "RetinaFace: Single-stage Dense Face Localisation in the Wild", Deng et al. 2019.

Differs from the paper: three strides and two anchors at each position unless the config says otherwise; deformable
convolutions are an option; there is no mesh decoder.
"""

from __future__ import annotations

from functools import cache

from mxface.graph import Group, Symbol, sym
from mxface.symbols.retinaface.heads import Anchors, context_module
from mxface.symbols.retinaface.layers import parameters
from mxface.symbols.retinaface.losses import HEAD_LR_MULT, stride_losses
from mxface.symbols.retinaface.options import RetinaFaceOptions
from mxface.symbols.retinaface.pyramid import feature_pyramid

HEAD_OF_STRIDE = {8: "rf_c1_det", 16: "rf_c2_det", 32: "rf_c3_det", 4: "rf_c0_det", 64: "rf_c4_det", 128: "rf_c5_det"}
"""In the order in which 2019 made them, which numbers unnamed nodes."""


def build_retinaface(options: RetinaFaceOptions) -> Symbol:
    """For each stride, from the largest: (N, 2A, H, W) probabilities, (N, 4A, H, W) boxes, (N, 10A, H, W) landmarks.

    The probabilities are A of background, then A of face. `training`: the losses of losses.py instead.
    """
    pyramid = feature_pyramid(options)
    features = {
        stride: context_module(pyramid[stride], name, options)
        for stride, name in HEAD_OF_STRIDE.items()
        if stride in options.rpn_feat_stride
    }
    parameters_of = cache(parameters)
    parts: list[Symbol] = []
    for stride in options.rpn_feat_stride:
        faces, heads = (
            Anchors(features=features[stride], stride=stride, prefix=prefix, options=options, parameters=parameters_of)
            for prefix in ("face", "head")
        )
        if options.training:
            parts += stride_losses(faces, lr_mult=1.0, landmarks=options.face_landmark)
            if options.head_box:
                parts += stride_losses(heads, lr_mult=HEAD_LR_MULT, landmarks=False)
        else:
            parts += predictions(faces)
    return Group(parts)


def predictions(anchors: Anchors) -> list[Symbol]:
    """[probabilities, boxes(, landmarks)]."""
    pairs = sym.Reshape(data=anchors.class_scores(), shape=(0, 2, -1, 0), name=anchors.name("rpn_cls_score_reshape"))
    probabilities = sym.SoftmaxActivation(data=pairs, mode="channel", name=anchors.name("rpn_cls_prob"))
    parts = [
        sym.Reshape(
            data=probabilities,
            shape=(0, 2 * anchors.options.num_anchors, -1, 0),
            name=anchors.name("rpn_cls_prob_reshape"),
        ),
        anchors.boxes(),
    ]
    return [*parts, anchors.landmarks()] if anchors.options.face_landmark else parts
