"""What looks at one map of the pyramid: a module that gathers context, then what it says of each anchor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mxface.graph import Symbol, sym
from mxface.symbols.retinaface.layers import conv_bn_relu, convolution, deformable_bn_relu, parameters, relu
from mxface.symbols.retinaface.options import RetinaFaceOptions

Parameters = Callable[[str], tuple[Symbol, Symbol]]
"""Weight and bias of a name; asked again, the same ones."""


def context_module(data: Symbol, name: str, options: RetinaFaceOptions) -> Symbol:
    """head_filter_num x context_filter_ratio channels."""
    filters = options.head_filter_num * options.context_filter_ratio
    body = {"SSH": ssh_module, "RF": rf_module}[options.head_module](data, filters, name, options)
    return deformable_bn_relu(body, filters, f"{name}_concat_dcn", options) if options.use_dcn else body


def ssh_module(data: Symbol, filters: int, name: str, options: RetinaFaceOptions) -> Symbol:
    """SSH, Najibi et al. 2017: a 3x3 beside two and three in a row, for windows of 3, 5 and 7."""
    quarter = filters // 4
    near = conv_bn_relu(data, filters // 2, f"{name}_conv1", options, active=False)
    shared = conv_bn_relu(data, quarter, f"{name}_context_conv1", options)
    middle = conv_bn_relu(shared, quarter, f"{name}_context_conv2", options, active=False)
    far = conv_bn_relu(shared, quarter, f"{name}_context_conv3_1", options)
    far = conv_bn_relu(far, quarter, f"{name}_context_conv3_2", options, active=False)
    return relu(sym.Concat(near, middle, far, dim=1, name=f"{name}_concat"), f"{name}_concat_relu")


def rf_module(data: Symbol, filters: int, name: str, options: RetinaFaceOptions) -> Symbol:
    first = conv_bn_relu(data, filters // 2, f"{name}_conv1", options)
    second = conv_bn_relu(first, filters // 2, f"{name}_conv2", options)
    third = conv_bn_relu(second, filters // 2, f"{name}_conv3", options)
    return sym.Concat(first, second + third, dim=1, name=f"{name}_concat")


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """The anchors of one stride, and what 1x1 convolutions on its features say of them.

    `prefix` is face, or head for the boxes of heads.
    """

    features: Symbol
    stride: int
    prefix: str
    options: RetinaFaceOptions
    parameters: Parameters

    def name(self, what: str) -> str:
        return f"{self.prefix}_{what}_stride{self.stride}"

    def class_scores(self) -> Symbol:
        """(N, 2 x anchors, H, W): all backgrounds, then all faces."""
        options = self.options
        smallest = self.stride == options.rpn_feat_stride[-1]
        if options.use_maxout and (smallest or options.use_maxout == 2):
            return self._maxout_scores(*((3, 1) if smallest else (1, 3)))
        return self._predict("rpn_cls_score", 2 * options.num_anchors, share=options.share_weight_bbox)

    def boxes(self) -> Symbol:
        """(N, anchors x 4, H, W)."""
        options = self.options
        return self._predict("rpn_bbox_pred", options.num_anchors * options.box_values, share=options.share_weight_bbox)

    def landmarks(self) -> Symbol:
        """(N, anchors x 10, H, W)."""
        options = self.options
        return self._predict(
            "rpn_landmark_pred", options.num_anchors * options.landmark_values, share=options.share_weight_landmark
        )

    def _predict(self, what: str, channels: int, *, share: bool) -> Symbol:
        name = self.name(what)
        weight, bias = self.parameters(f"{self.prefix}_{what}_share" if share else name)
        return convolution(self.features, channels, name, weight, bias)

    def _maxout_scores(self, backgrounds: int, faces: int) -> Symbol:
        """The largest of several scores counts. 2019's order is kept: background and face of each anchor in turn."""
        name = self.name("rpn_cls_score")
        scores = []
        for anchor in range(self.options.num_anchors):
            for kind, count in (("bg", backgrounds), ("fg", faces)):
                part = f"{name}_anchor{anchor}_{kind}"
                score = convolution(self.features, count, part, *parameters(part))
                scores.append(sym.max(score, axis=1, keepdims=True) if count > 1 else score)
        return sym.Concat(*scores, dim=1, name=name)
