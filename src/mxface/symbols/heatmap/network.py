"""Heat maps of face landmarks: stacked hourglasses, and stacked dense U-Nets (SDU, Guo et al. 2018).

hourglass is Newell et al. 2016 with pre-activation bottlenecks. sdu's units are scale aggregation grids with channel
aggregation blocks (CAB), both in grids.py, and deformable convolutions. `net_dcn`: 1 puts a deformable convolution
behind every stack but the last, 2 makes those before and of the heat maps deformable, 3 does both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable, sym
from mxface.symbols.heatmap.blocks import BLOCKS, hourglass
from mxface.symbols.heatmap.grids import scale_grid
from mxface.symbols.heatmap.layers import conv_bn_relu, deformable_3x3, max_pooling, relu
from mxface.symbols.heatmap.loss import LANDMARKS, loss_outputs, mirror_distance, spatial_cross_entropy
from mxface.symbols.layers import Conv, batch_norm, convolution, normalize_pixels
from mxface.symbols.options import NetworkOptions, require_member, require_positive

STEM_FILTERS, RES0_FILTERS, FILTERS = 64, 128, 256
LEAST_STEM_FILTERS = 32


@dataclass(frozen=True, kw_only=True)
class HeatmapOptions(NetworkOptions):
    """Keys of 2019's alignment config. ConfigError names the option and what it can be."""

    bn_mom: ClassVar[float] = 0.9
    workspace: ClassVar[int] = 256

    num_classes: int = 68
    """Landmarks: one heat map each."""
    multiplier: float = 1.0
    """Of all widths."""
    net_sta: int = 0
    """The unit of a stack: 0 hourglass, 1 scale aggregation grid, 2 the same with a gate from a global average."""
    net_n: int = 3
    """How often a unit halves the map."""
    net_dcn: int = 0
    net_stacks: int = 2
    net_block: str = "resnet"
    net_binarize: bool = False
    input_img_size: int = 128
    output_label_size: int = 64

    training: bool = False
    """Build the losses on top, as 2019's get_symbol did, instead of ending at the last heat map."""
    net_coherent: bool = False
    """A further loss: a mirrored half batch should have mirrored heat maps."""
    per_batch_size: int = 20
    """Of one device; net_coherent needs it."""

    @property
    def data_shape(self) -> tuple[int, int, int, int]:
        batch = self.per_batch_size if self.training else 1
        return batch, 3, self.input_img_size, self.input_img_size

    def __post_init__(self) -> None:
        require_member("net_sta", self.net_sta, (0, 1, 2))
        require_member("net_dcn", self.net_dcn, (0, 1, 2, 3))
        require_member("net_block", self.net_block, tuple(BLOCKS))
        require_positive(self, "num_classes", "multiplier", "net_n", "net_stacks", "per_batch_size")
        if self.net_binarize:
            raise ConfigError("net_binarize=True needs operators of a private MXNet; set it to False")
        if self.input_img_size not in (2 * self.output_label_size, 4 * self.output_label_size):
            raise ConfigError(
                f"input_img_size={self.input_img_size} must be two or four times "
                f"output_label_size={self.output_label_size}"
            )
        if self.net_coherent and self.per_batch_size % 2:
            raise ConfigError(f"per_batch_size={self.per_batch_size} must be even with net_coherent=True")
        if self.net_coherent and self.num_classes != LANDMARKS:
            raise ConfigError(f"net_coherent=True mirrors {LANDMARKS} points, not num_classes={self.num_classes}")


def build_heatmap(options: HeatmapOptions) -> Symbol:
    """Image (N, 3, S, S) to `heatmap` (N, num_classes, L, L)."""
    filters = int(FILTERS * options.multiplier)
    body = stem(filters, options)
    label = Variable("softmax_label")
    losses, distances = [], []
    for stack in range(options.net_stacks):
        last = stack == options.net_stacks - 1
        features = stack_features(body, filters, stack, options)
        heatmap = scores(features, "heatmap" if last else f"heatmap{stack}", options)
        # also in a network that only predicts: 2019 cut that out of the one it trained, where the losses are counted
        losses.append(spatial_cross_entropy(heatmap, label))
        if options.net_coherent:
            distances.append(mirror_distance(heatmap, options.per_batch_size) / options.net_stacks)
        if not last:
            body = sym.add_n(
                body,
                pointwise(features, filters, f"stack{stack}_ll2", options),
                pointwise(heatmap, filters, f"stack{stack}_out2", options),
            )
            if options.net_dcn in (1, 3):
                body = deformable_3x3(body, filters, f"stack{stack}_out3")
    return loss_outputs(losses, distances, heatmap) if options.training else heatmap


def stem(filters: int, options: HeatmapOptions) -> Symbol:
    """To a half or a quarter of the image's size."""
    block = BLOCKS[options.net_block]
    quarter = options.input_img_size == 4 * options.output_label_size
    stem_filters, res0_filters = (
        max(int(count * options.multiplier), LEAST_STEM_FILTERS) for count in (STEM_FILTERS, RES0_FILTERS)
    )
    conv0 = Conv(stem_filters, 7, 2) if quarter else Conv(stem_filters, 3)
    body = convolution(normalize_pixels(Variable("data")), conv0, "conv0", options)
    body = relu(batch_norm(body, "bn0", options), "relu0")
    body = max_pooling(block(body, res0_filters, "res0", options, match=stem_filters == res0_filters))
    body = block(body, res0_filters, "res1", options, match=True)
    return block(body, filters, "res2", options, match=res0_filters == filters)


def stack_features(body: Symbol, filters: int, stack: int, options: HeatmapOptions) -> Symbol:
    block = BLOCKS[options.net_block]
    if options.net_sta:
        size, gate = options.output_label_size, options.net_sta == 2
        unit = scale_grid(body, filters, options.net_n + 1, size, f"sta{stack}", options, gate=gate)
    else:
        unit = hourglass(body, filters, options.net_n, f"stack{stack}_hg", block, options)
    unit = block(unit, filters, f"stack{stack}_unit0", options, match=True)
    return conv_bn_relu(unit, filters, f"stack{stack}_ll", options, deformable=options.net_dcn >= 2)


def scores(features: Symbol, name: str, options: HeatmapOptions) -> Symbol:
    if options.net_dcn >= 2:
        return deformable_3x3(features, options.num_classes, name)
    return pointwise(features, options.num_classes, name, options)


def pointwise(data: Symbol, filters: int, name: str, options: HeatmapOptions) -> Symbol:
    """1x1 with bias."""
    return sym.Convolution(
        data=data,
        num_filter=filters,
        kernel=(1, 1),
        stride=(1, 1),
        pad=(0, 0),
        workspace=options.workspace,
        name=name,
    )
