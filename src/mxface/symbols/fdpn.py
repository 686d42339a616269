"""Dual path networks (dpn68 … dpn131): Chen et al. 2017. Each unit adds to one path and appends to the other.

Differs from the paper: the stem (src_stem.py) has 64 filters and, unless net_input is 0, keeps more of the resolution;
the embedding heads take the place of the last BN and ReLU, average and softmax.
"""

from __future__ import annotations

from typing import NamedTuple

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable, sym
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.options import RecognitionOptions
from mxface.symbols.src_stem import src_stem


class Depth(NamedTuple):
    """Filters of the grouped 3x3 in the first stage, groups, and by stage: units, channels that a unit appends."""

    grouped: int
    groups: int
    units: tuple[int, ...]
    appended: tuple[int, ...]


class Unit(NamedTuple):
    """Channels of the path that is added to, of the grouped 3x3, and that are appended."""

    added: int
    grouped: int
    groups: int
    appended: int


class Paths(NamedTuple):
    """The two paths, or the one map behind the stem."""

    added: Symbol
    appended: Symbol | None

    def joined(self, name: str) -> Symbol:
        return self.added if self.appended is None else sym.Concat(self.added, self.appended, name=name)


DEPTHS = {
    68: Depth(128, 32, (3, 4, 12, 3), (16, 32, 32, 64)),
    92: Depth(96, 32, (3, 4, 20, 3), (16, 32, 24, 128)),
    107: Depth(200, 50, (4, 8, 20, 3), (20, 64, 64, 128)),
    131: Depth(160, 40, (4, 8, 28, 3), (16, 32, 32, 128)),
}
STEM_FILTERS = 128
ADDED_CHANNELS = (256, 512, 1024, 2048)


def build_fdpn(options: RecognitionOptions) -> Symbol:
    """Read: num_layers, net_input, net_output, emb_size."""
    if options.num_layers not in DEPTHS:
        depths = ", ".join(map(str, DEPTHS))
        raise ConfigError(f"fdpn has no num_layers={options.num_layers}; choose one of {depths}")
    depth = DEPTHS[options.num_layers]
    paths = Paths(src_stem(Variable("data"), STEM_FILTERS, options), None)
    for stage, added in enumerate(ADDED_CHANNELS):
        grouped = depth.grouped * added // ADDED_CHANNELS[0]
        unit = Unit(added, grouped, depth.groups, depth.appended[stage])
        for number in range(1, depth.units[stage] + 1):
            stride = 2 if stage > 0 and number == 1 else 1
            paths = dual_path_unit(paths, unit, f"conv{stage + 2}_x__{number}", stride=stride, project=number == 1)
    return embedding_head(paths.joined("conv5_x_x_cat-final"), options)


def dual_path_unit(paths: Paths, unit: Unit, name: str, *, stride: int, project: bool) -> Paths:
    """1x1, grouped 3x3, 1x1; a part of the result is added to one path, the rest appended to the other.

    `project` begins both paths anew from a 1x1 of the whole map.
    """
    whole = paths.joined(f"{name}_cat-input")
    if project:
        projection = f"{name}_c1x1-w(s/{stride})"
        width = unit.added + 2 * unit.appended
        paths = split(bn_relu_conv(whole, width, projection, stride=stride), unit.added, width, projection)
    body = bn_relu_conv(whole, unit.grouped, f"{name}_c1x1-a")
    body = bn_relu_conv(body, unit.grouped, f"{name}_c3x3-b", kernel=3, stride=stride, groups=unit.groups)
    width = unit.added + unit.appended
    new = split(bn_relu_conv(body, width, f"{name}_c1x1-c"), unit.added, width, f"{name}_c1x1-c")
    return Paths(
        sym.ElementWiseSum(paths.added, new.added, name=f"{name}_sum"),
        sym.Concat(paths.appended, new.appended, name=f"{name}_cat"),
    )


def split(data: Symbol, added: int, width: int, name: str) -> Paths:
    return Paths(
        sym.slice_axis(data=data, axis=1, begin=0, end=added, name=f"{name}-split1"),
        sym.slice_axis(data=data, axis=1, begin=added, end=width, name=f"{name}-split2"),
    )


def bn_relu_conv(data: Symbol, filters: int, name: str, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> Symbol:
    normal = sym.BatchNorm(data=data, fix_gamma=False, momentum=0.9, name=f"{name}__bn__bn")
    return sym.Convolution(
        data=sym.Activation(data=normal, act_type="relu", name=f"{name}__ac__relu"),
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        num_group=groups,
        no_bias=True,
        name=f"{name}__conv",
    )
