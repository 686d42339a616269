"""MobileNet v1 (m1, m05): Howard et al. 2017.

Differs from the paper: the stem keeps full resolution (net_input 1), so faces of 112x112 end at 7x7; PReLU, but plain
ReLU in gender-age; its BatchNorms have no gamma of their own; embedding heads. `net_multiplier` is the paper's alpha.
"""

from __future__ import annotations

from mxface.graph import Symbol, Variable
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.layers import conv_block, normalize_pixels
from mxface.symbols.options import RecognitionOptions

STAGES = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))
"""Width over that of the stem, and stride, of conv_2 … conv_14."""


def build_fmobilenet(options: RecognitionOptions) -> Symbol:
    """Read: net_multiplier, net_input, net_act, net_output, emb_size."""
    base = int(32 * options.net_multiplier)
    act = options.net_act
    body = normalize_pixels(Variable("data"))
    body = conv_block(body, base, "conv_1", act, kernel=3, stride=2 if options.net_input == 0 else 1, fix_gamma=True)
    channels = base
    for number, (width, stride) in enumerate(STAGES, start=2):
        name = f"conv_{number}"
        body = conv_block(body, channels, f"{name}_dw", act, kernel=3, stride=stride, groups=channels, fix_gamma=True)
        channels = base * width
        body = conv_block(body, channels, name, act, fix_gamma=True)
    return embedding_head(body, options)
