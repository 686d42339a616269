"""Grids of maps that are refined step by step: "Stacked Dense U-Nets with Dual Transformers", Guo et al. 2018.

A cell (w, h), 1 <= w <= h <= size, is made of its neighbours (w + 1, h + 1) and (w, h + 1); the edge (w, size) of
(w + 1, size) alone, with half of something: channels in the channel grid, height and width in the scale grid. The
corner (size, size) is the input, (1, 1) the result.

                    (4,4)
              (3,3) (3,4)
        (2,2) (2,3) (2,4)
  (1,1) (1,2) (1,3) (1,4)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from mxface.graph import Symbol, sym
from mxface.symbols.heatmap.layers import grid_convolution, max_pooling, relu
from mxface.symbols.layers import LayerOptions, batch_norm, double

CHANNEL_GRID_SIZE = 4


class Cell(NamedTuple):
    """A map, and how many channels (channel grid) or lines (scale grid) it has."""

    map: Symbol
    extent: int


Grid = Callable[[int, int], Cell]
"""The cell at (w, h)."""


def channel_grid(data: Symbol, filters: int, name: str, options: LayerOptions) -> Symbol:
    """Channel aggregation block (CAB): all cells have the size of the input."""

    def edge(right: Cell, w: int, h: int) -> Cell:
        channels = right.extent // 2
        return Cell(grid_convolution(right.map, channels, f"{name}_w{w}_h{h}_1", options), channels)

    def inner(diagonal: Cell, below: Cell, w: int, h: int, _grid: Grid) -> Cell:
        channels = diagonal.extent
        straight = depthwise(diagonal.map, channels, f"{name}_w{w}_h{h}_2", w, h, options)
        doubled = sym.Concat(below.map, below.map, dim=1)
        return Cell(sym.add_n(straight, doubled, name=f"{name}_w{w}_h{h}_add") / 2, channels)

    return fill_grid(CHANNEL_GRID_SIZE, Cell(data, filters), edge, inner)


def scale_grid(
    data: Symbol, filters: int, size: int, lines: int, name: str, options: LayerOptions, *, gate: bool
) -> Symbol:
    """Scale aggregation (a dense U-Net): `data` has `lines` lines, and all cells `filters` channels.

    `gate` weighs the channels of cell (2, 3) by the averages of (3, 3).
    """

    def edge(right: Cell, w: int, h: int) -> Cell:
        place = f"{name}_w{w}_h{h}"
        halved = max_pooling(channel_grid(right.map, filters, f"{place}_1", options))
        return Cell(channel_grid(halved, filters, f"{place}_2", options), right.extent // 2)

    def inner(diagonal: Cell, below: Cell, w: int, h: int, grid: Grid) -> Cell:
        straight = depthwise(diagonal.map, filters, f"{name}_w{w}_h{h}_x", w, h, options)
        mixed = (straight + enlarged(below.map, w, h)) / 2
        if gate and (w, h) == (2, 3):
            mixed = sym.broadcast_mul(mixed, average(grid(3, 3)))
        return Cell(mixed, diagonal.extent)

    def enlarged(below: Symbol, w: int, h: int) -> Symbol:
        upsampling, place = f"{name}_upsampling_w{w}_h{h}", f"{name}_w{w}_h{h}"
        if w == 1:
            return channel_grid(double(below, upsampling), filters, f"{place}_4", options)
        body = sym.Deconvolution(
            data=below,
            num_filter=filters,
            kernel=(2, 2),
            stride=(2, 2),
            workspace=options.workspace,
            lr_mult=1.0,
            name=upsampling,
        )
        return relu(batch_norm(body, f"{place}_y_bn", options), f"{place}_y_act")

    return fill_grid(size, Cell(data, lines), edge, inner)


def fill_grid(
    size: int,
    corner: Cell,
    edge: Callable[[Cell, int, int], Cell],
    inner: Callable[[Cell, Cell, int, int, Grid], Cell],
) -> Symbol:
    """The map of cell (1, 1)."""

    @cache
    def cell(w: int, h: int) -> Cell:
        if w == h == size:
            return corner
        if h == size:
            return edge(cell(w + 1, h), w, h)
        return inner(cell(w + 1, h + 1), cell(w, h + 1), w, h, cell)

    return cell(1, 1).map


def depthwise(data: Symbol, channels: int, name: str, w: int, h: int, options: LayerOptions) -> Symbol:
    """A convolution of each channel in the odd rows of a grid, off its diagonal; elsewhere nothing."""
    if h % 2 == 0 or h == w:
        return data
    return grid_convolution(data, channels, name, options, groups=channels)


def average(cell: Cell) -> Symbol:
    window = (cell.extent, cell.extent)
    return sym.Pooling(data=cell.map, kernel=window, stride=window, pad=(0, 0), pool_type="avg")
