"""NASNet-A large (n1): Zoph et al. 2018.

Differs from the paper: the stem's first convolution keeps full resolution; BN with momentum 0.1, from a library in
which that is the weight of the new value; embedding head E instead of ReLU, average and softmax.

A cell takes the last two outputs, brings both to one width, and joins sums of separable convolutions and poolings of
them. Layers are called in the order in which 2019 made them, so that order is kept here.
"""

from __future__ import annotations

from mxface.graph import Symbol, Variable
from mxface.symbols.embedding_heads import embedding_head
from mxface.symbols.gluon import Block
from mxface.symbols.layers import normalize_pixels
from mxface.symbols.options import RecognitionOptions

STEM_FILTERS = 96
FILTERS = 168
"""Of the cells in the first stage; twice as many after each reduction."""

STAGES = 3
NORMAL_CELLS = 5
"""Behind the first cell of each stage."""

ROOT = Block()
"""Layers have no prefix: they count through the whole network."""


def build_fnasnet(options: RecognitionOptions) -> Symbol:
    """Read: emb_size."""
    stem = batch_norm(ROOT.convolution(normalize_pixels(Variable("data")), STEM_FILTERS, 3, pad=0))
    before = first_stem_cell(stem, FILTERS // 4)
    body = second_stem_cell(stem, before, FILTERS // 2)
    for stage in range(STAGES):
        filters = FILTERS * 2**stage
        if stage > 0:
            body = reduction_cell(body, before, filters, number=stage - 1)
        body, before = first_cell(body, before, filters), body
        for _ in range(NORMAL_CELLS):
            body, before = normal_cell(body, before, filters), body
    ROOT.skip("relu", "pool", "dropout", "dense")  # made for the classifier, and not used
    return embedding_head(body, options)


def first_stem_cell(stem: Symbol, filters: int) -> Symbol:
    return halving_cell(ROOT.child("cellstem0"), pointwise(stem, filters), stem, filters, STEM_FILTERS)


def second_stem_cell(stem: Symbol, before: Symbol, filters: int) -> Symbol:
    cell = ROOT.child("cellstem1")
    newer = pointwise(before, filters)
    return halving_cell(cell, newer, factorized(cell, stem, filters // 2), filters, filters)


def first_cell(newer: Symbol, older: Symbol, filters: int) -> Symbol:
    """`older` has twice the size of `newer`."""
    cell = ROOT.child("firstcell")
    right = pointwise(newer, filters)
    return joining_cell(cell, factorized(cell, older, filters // 2), right, filters)


def normal_cell(newer: Symbol, older: Symbol, filters: int) -> Symbol:
    cell = ROOT.child("normalcell")
    left = pointwise(older, filters)
    return joining_cell(cell, left, pointwise(newer, filters), filters)


def reduction_cell(newer: Symbol, older: Symbol, filters: int, *, number: int) -> Symbol:
    """The first of the two pads its maps by hand, at top and left."""
    cell = ROOT.child(f"reductioncell{number}")
    left = pointwise(older, filters)
    return halving_cell(cell, pointwise(newer, filters), left, filters, filters, padded=number == 0)


def joining_cell(cell: Block, left: Symbol, right: Symbol, filters: int) -> Symbol:
    sums = [
        plus(cell, separable(right, filters, 5), separable(left, filters, 3)),
        plus(cell, separable(left, filters, 5), separable(left, filters, 3)),
        plus(cell, average(right), left),
        plus(cell, average(left), average(left)),
        plus(cell, separable(right, filters, 3), right),
    ]
    return cell.operator("concat", left, *sums, dim=1)


def halving_cell(
    cell: Block, main: Symbol, other: Symbol, filters: int, other_filters: int, *, padded: bool = False
) -> Symbol:
    """`main` has `filters` channels, `other` `other_filters`."""

    def separate(data: Symbol, kernel: int, *, before: int = filters, stride: int = 2) -> Symbol:
        return separable(data, filters, kernel, before=before, stride=stride, padded=padded)

    first = plus(cell, separate(main, 5), separate(other, 7, before=other_filters))
    second = plus(cell, halving_pool(main, "max", padded), separate(other, 7, before=other_filters))
    third = plus(cell, halving_pool(main, "avg", padded), separate(other, 5, before=other_filters))
    fourth = plus(cell, average(first), second)
    fifth = plus(cell, separate(first, 3, stride=1), halving_pool(main, "max", padded))
    return cell.operator("concat", second, third, fourth, fifth, dim=1)


def plus(cell: Block, left: Symbol, right: Symbol) -> Symbol:
    return cell.operator("_plus", left, right)


def pointwise(data: Symbol, filters: int) -> Symbol:
    return batch_norm(ROOT.convolution(relu(data), filters))


def separable(
    data: Symbol, filters: int, kernel: int, *, before: int | None = None, stride: int = 1, padded: bool = False
) -> Symbol:
    """Twice ReLU, convolution of each channel, 1x1, BN. `before` is the number of channels of `data`, if another."""
    block = ROOT.child("branchseparablesreduction") if padded else None
    before = filters if before is None else before
    body = relu(data)
    body = pad(block, body, before=1) if block else body
    body = ROOT.convolution(body, before, kernel, stride=stride, groups=before)
    body = ROOT.convolution(body, filters)
    body = relu(batch_norm(drop_first(block, body) if block else body))
    body = ROOT.convolution(body, filters, kernel, groups=filters)
    return batch_norm(ROOT.convolution(body, filters))


def factorized(cell: Block, data: Symbol, filters: int) -> Symbol:
    """Halve the map twice, once moved by one pixel, and join: 2 x `filters` channels."""
    body = relu(data)
    straight = ROOT.convolution(ROOT.average_pooling(body, 1, stride=2), filters)
    moved = drop_first(cell, pad(cell, body, before=0))
    moved = ROOT.convolution(ROOT.average_pooling(moved, 1, stride=2), filters)
    return batch_norm(cell.operator("concat", straight, moved, dim=1))


def halving_pool(data: Symbol, pool_type: str, padded: bool) -> Symbol:
    pool = ROOT.max_pooling if pool_type == "max" else ROOT.average_pooling
    if not padded:
        return pool(data, 3, stride=2, pad=1)
    block = ROOT.child(f"{pool_type}poolpad")
    return drop_first(block, pool(pad(block, data, before=1), 3, stride=2, pad=1))


def average(data: Symbol) -> Symbol:
    return ROOT.average_pooling(data, 3, stride=1, pad=1)


def pad(block: Block, data: Symbol, *, before: int) -> Symbol:
    """One row and one column of zeros, before (top and left) or behind."""
    side = (before, 1 - before)
    return block.operator("Pad", data, mode="constant", pad_width=(0, 0, 0, 0, *side, *side), constant_value=0)


def drop_first(block: Block, data: Symbol) -> Symbol:
    """The map without its first row and column."""
    return block.operator("slice", data, begin=(None, None, 1, 1), end=(None, None, None, None))


def relu(data: Symbol) -> Symbol:
    return ROOT.activation(data, "relu")


def batch_norm(data: Symbol) -> Symbol:
    return ROOT.batch_norm(data, eps=0.001, momentum=0.1)
