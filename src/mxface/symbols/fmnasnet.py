"""MnasNet (mnas, mnas05, mnas025): Tan et al. 2018.

Differs from the paper: the stem keeps full resolution, so faces of 112x112 end at 7x7; only the first block of a stage
has its kernel, the others 3x3; a wide 1x1 to 1024 at the end; PReLU with one slope a layer; no squeeze-and-excite;
embedding heads. `net_multiplier` scales all widths.
"""

from __future__ import annotations

from typing import NamedTuple

from mxface.graph import Symbol, Variable
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.gluon import Block
from mxface.symbols.layers import normalize_pixels
from mxface.symbols.options import RecognitionOptions


class Stage(NamedTuple):
    """Blocks that widen their input `expand` times; `kernel` and `stride` are the first one's."""

    name: str
    expand: int
    filters: int
    blocks: int
    stride: int
    kernel: int


STAGES = (
    Stage("stage2", 3, 24, 3, 2, 3),
    Stage("stage3", 3, 40, 3, 2, 5),
    Stage("stage4_1", 6, 80, 3, 2, 5),
    Stage("stage4_2", 6, 96, 2, 1, 3),
    Stage("stage5_1", 6, 192, 4, 2, 5),
    Stage("stage5_2", 6, 320, 1, 1, 3),
)


def build_fmnasnet(options: RecognitionOptions) -> Symbol:
    """Read: net_multiplier, net_act, net_output, emb_size."""
    act = options.net_act

    def width(filters: int) -> int:
        return int(filters * options.net_multiplier)

    network = Block().child("mnasnet")
    stem = width(32)
    body = network.scope("stage1_conv0").conv_block(normalize_pixels(Variable("data")), stem, 3, act)
    separable = network.scope("stage1_sepconv0")
    body = separable.conv_block(body, stem, 3, act, groups=stem, in_channels=stem)
    channels = width(16)
    body = separable.conv_block(body, channels, 1, act, in_channels=stem)
    for stage in STAGES:
        for number in range(stage.blocks):
            block = network.scope(f"{stage.name}_expandedconv{number}")
            kernel, stride = (stage.kernel, stage.stride) if number == 0 else (3, 1)
            wide, channels = channels * stage.expand, width(stage.filters)
            narrow = block.scope("expand").conv_block(body, wide, 1, act)
            narrow = block.scope("dwise").conv_block(narrow, wide, kernel, act, stride=stride, groups=wide)
            narrow = block.scope("linear").conv_bn(narrow, channels)
            body = narrow if number == 0 else block.operator("elemwise_add", narrow, body)
    body = network.scope("stage5_3").conv_block(body, width(1024), 1, act)
    return embedding_head(body, options, gdc_filters=width(1024))
