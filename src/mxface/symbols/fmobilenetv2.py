"""MobileNet v2 (m2): Sandler et al. 2018.

Differs from the paper: the stem keeps full resolution, so faces of 112x112 end at 7x7; plain ReLU instead of ReLU6;
the first block of a stage without stride is a residual one, too, with a projection; all blocks of a stage widen by the
width of the stage before; embedding head E.
"""

from __future__ import annotations

from typing import NamedTuple

from mxface.graph import Symbol, Variable
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.gluon import Block
from mxface.symbols.layers import normalize_pixels
from mxface.symbols.options import RecognitionOptions


class Stage(NamedTuple):
    """Blocks that widen to `expand` times the filters of the stage before; `stride` is the first one's."""

    expand: int
    filters: int
    blocks: int
    stride: int


STEM_FILTERS = 32
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 1),
    Stage(6, 96, 3, 2),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
LAST_FILTERS = 1280


def build_fmobilenetv2(options: RecognitionOptions) -> Symbol:
    """Read: emb_size."""
    root = Block()
    network = root.child("mobilenetv2")
    body = root.conv_block(normalize_pixels(Variable("data")), STEM_FILTERS, 3, "relu")
    before = STEM_FILTERS
    for stage in STAGES:
        for number in range(stage.blocks):
            block = root.child("invertedresidual")
            if number > 0:
                body = block.operator("elemwise_add", narrow(block, body, stage, before), body)
            elif stage.stride == 1:
                main = narrow(block, body, stage, before)
                body = block.operator("elemwise_add", main, block.conv_block(body, stage.filters, 1, "relu"))
            else:
                body = narrow(block, body, stage, before, stride=stage.stride)
        before = stage.filters
    body = network.child("hybridsequential").conv_block(body, LAST_FILTERS, 1, "relu")
    return embedding_head(body, options)


def narrow(block: Block, data: Symbol, stage: Stage, before: int, *, stride: int = 1) -> Symbol:
    """1x1 to the wide inside, 3x3 on each channel, 1x1 to the stage's width without an activation."""
    wide = before * stage.expand
    body = block.conv_block(data, wide, 1, "relu")
    body = block.conv_block(body, wide, 3, "relu", stride=stride, groups=wide)
    return block.conv_bn(body, stage.filters)
