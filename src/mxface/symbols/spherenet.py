"""SphereFace's networks (s20, s36, s64): Liu et al. 2017. Residual units of 3x3 and PReLU, without BN.

Differs from the paper: also 60 and 104 layers. Weights and biases bring their own initialisers and multipliers.
"""

from __future__ import annotations

from typing import Any

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable, sym
from mxface.symbols.layers import normalize_pixels
from mxface.symbols.options import RecognitionOptions

UNITS_PER_STAGE = {
    20: (1, 2, 4, 1),
    36: (2, 4, 8, 2),
    60: (3, 8, 14, 3),
    64: (3, 8, 16, 3),
    104: (3, 8, 36, 3),
}
STAGE_FILTERS = (64, 128, 256, 512)
WEIGHT_INIT = '["normal", {"sigma": 0.01}]'
BIAS_INIT = '["constant", {"value": 0.0}]'


def build_spherenet(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, emb_size."""
    if options.num_layers not in UNITS_PER_STAGE:
        depths = ", ".join(map(str, UNITS_PER_STAGE))
        raise ConfigError(f"spherenet has no num_layers={options.num_layers}; choose one of {depths}")
    body = normalize_pixels(Variable("data"))
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        bias = Variable(f"conv{stage}_1_bias", lr_mult=2.0, wd_mult=0.0, init=BIAS_INIT)
        body = conv_prelu(body, filters, 2, f"{stage}_1", bias=bias)
        for unit in range(UNITS_PER_STAGE[options.num_layers][stage - 1]):
            first, second = (f"{stage}_{2 * unit + place}" for place in (2, 3))
            branch = conv_prelu(body, filters, 1, first, no_bias=True)
            body = body + conv_prelu(branch, filters, 1, second, no_bias=True)
    return sym.FullyConnected(
        data=body,
        weight=Variable("fc1_weight", lr_mult=1.0),
        bias=Variable("fc1_bias", lr_mult=2.0, wd_mult=0.0),
        num_hidden=options.emb_size,
        name="fc1",
    )


def conv_prelu(data: Symbol, filters: int, stride: int, number: str, **bias: Any) -> Symbol:
    convolved = sym.Convolution(
        data=data,
        weight=Variable(f"conv{number}_weight", init=WEIGHT_INIT),
        num_filter=filters,
        kernel=(3, 3),
        stride=(stride, stride),
        pad=(1, 1),
        workspace=256,
        name=f"conv{number}",
        **bias,
    )
    return sym.LeakyReLU(data=convolved, act_type="prelu", name=f"relu{number}")
