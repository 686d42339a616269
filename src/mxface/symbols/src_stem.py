"""The stem that fdensenet and fdpn of src/symbols share."""

from __future__ import annotations

from mxface.graph import Symbol, sym
from mxface.symbols.fresnet import improved_unit
from mxface.symbols.layers import Conv, activation, batch_norm, convolution, normalize_pixels
from mxface.symbols.options import RecognitionOptions

FULL_RESOLUTION_FILTERS = 64
"""At most, before the map is halved for the first time."""


def src_stem(data: Symbol, filters: int, options: RecognitionOptions) -> Symbol:
    """net_input 0 is ImageNet's: 7x7 with stride 2, max-pooling. Else 3x3 and one of fresnet's units, which halves."""
    if options.net_input == 0:
        body = conv0(data, Conv(filters, 7, 2), options)
        return sym.Pooling(data=body, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    conv = Conv(min(filters, FULL_RESOLUTION_FILTERS), 3)
    return improved_unit(conv0(data, conv, options), (conv, conv), "head", options, halve=True)


def conv0(data: Symbol, conv: Conv, options: RecognitionOptions) -> Symbol:
    body = convolution(normalize_pixels(data), conv, "conv0", options)
    return activation(batch_norm(body, "bn0", options), options.head_act, "relu0")
