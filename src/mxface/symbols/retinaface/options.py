"""The options of RetinaFace's networks: keys of 2019's config, in lower case here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from mxface.errors import ConfigError
from mxface.graph import Node, Symbol
from mxface.symbols.options import NetworkOptions, require_member, require_positive

SIZE = 640
"""The side of a training crop; strides of backbone layers are found at this size."""

STRIDES = (128, 64, 32, 16, 8, 4)


@dataclass(frozen=True, kw_only=True)
class RetinaFaceOptions(NetworkOptions):
    """Checked on construction. ConfigError names the option and what it can be."""

    bn_mom: ClassVar[float] = 0.9

    backbone: Symbol
    """A network whose layers of stride 4, 8, 16 and 32 are built upon, such as a checkpoint's symbol."""
    max_feat_channel: int = 9999
    """Layers from the first one that is wider are not looked at."""

    head_filter_num: int = 256
    use_crop: bool = True
    """Crop enlarged maps to the size of those that they are added to."""
    use_dcn: int = 0
    """1: a deformable convolution at the end of each head; 2: all 3x3 without stride are modulated deformable ones."""
    head_module: str = "SSH"
    context_filter_ratio: int = 1
    """The width of the heads' output over head_filter_num."""

    rpn_feat_stride: tuple[int, ...] = (32, 16, 8)
    num_anchors: int = 2
    """At each position of each stride."""
    face_landmark: bool = True
    use_blur: bool = False
    """One more value with each box."""
    use_occlusion: bool = False
    """One more value with each landmark."""
    use_maxout: int = 0
    """1: on the smallest stride the background is the largest of three scores; 2: elsewhere the face is, too."""
    share_weight_bbox: bool = False
    """One set of weights for the scores and boxes of all strides."""
    share_weight_landmark: bool = False

    training: bool = False
    """Build the losses of train.py instead of the network that it saved."""
    head_box: bool = False
    """Train boxes of heads beside those of faces."""
    lr_mode: int = 0
    """What the box losses are divided by: 0 rpn_batch_size, else the number of faces among the anchors."""
    landmark_lr_mult: float = 2.0
    rpn_enable_ohem: int = 2
    rpn_batch_size: int = 256
    """How many anchors of each stride of an image are trained on."""
    rpn_fg_fraction: float = 0.25
    """How much of rpn_batch_size may be faces."""
    network: str = "resnet"
    dataset: str = "retinaface"

    @property
    def data_shape(self) -> tuple[int, int, int, int]:
        return 1, 3, SIZE, SIZE

    @property
    def nodes_before(self) -> Sequence[Node]:
        return self.backbone.nodes

    @property
    def box_values(self) -> int:
        return 5 if self.use_blur else 4

    @property
    def landmark_values(self) -> int:
        return 15 if self.use_occlusion else 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "rpn_feat_stride", tuple(self.rpn_feat_stride))
        if not isinstance(self.backbone, Symbol):
            raise ConfigError(f"backbone must be a Symbol, such as load_checkpoint(…).symbol, not {self.backbone!r}")
        require_member("head_module", self.head_module, ("SSH", "RF"))
        require_member("use_dcn", self.use_dcn, (0, 1, 2))
        require_member("use_maxout", self.use_maxout, (0, 1, 2))
        require_positive(self, "head_filter_num", "context_filter_ratio", "num_anchors", "rpn_batch_size")
        if not 0 <= self.rpn_fg_fraction <= 1:
            raise ConfigError(f"rpn_fg_fraction={self.rpn_fg_fraction} must be from 0 to 1")
        strides = self.rpn_feat_stride
        if not strides or set(strides) - set(STRIDES) or list(strides) != sorted(set(strides), reverse=True):
            raise ConfigError(f"rpn_feat_stride={list(strides)} must be some of {list(STRIDES)}, in this order")
        if self.head_filter_num % 4:
            raise ConfigError(f"head_filter_num={self.head_filter_num} must be a multiple of 4")
        if self.rpn_enable_ohem != 2:
            raise ConfigError(f"rpn_enable_ohem={self.rpn_enable_ohem} was never finished in 2019; set it to 2")


RETINAFACE_KEYWORDS = {
    field.name.upper(): field.name
    for field in fields(RetinaFaceOptions)
    if field.name not in ("backbone", "max_feat_channel", "training", "network", "dataset")
}
"""How 2019's config spelled them."""
