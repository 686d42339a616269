"""Shape arithmetic that several operators share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from mxface.errors import GraphError
from mxface.ops.spec import Params, Shape, ShapeRule

Inference = tuple[Mapping[str, Shape], list[Shape]]


def is_complete(shape: Shape | None) -> bool:
    """Is every size known?"""
    return shape is not None and 0 not in shape


def merge_shapes(first: Shape | None, second: Shape | None) -> Shape | None:
    """What two statements about one array say together; a size of 0 gives way. Raises GraphError when they disagree."""
    if first is None or second is None:
        return second if first is None else first
    if len(first) != len(second) or any(a != b and a and b for a, b in zip(first, second, strict=True)):
        raise GraphError(f"shape {first} does not agree with {second}")
    return tuple(a or b for a, b in zip(first, second, strict=True))


def from_data(rule: Callable[[Params, Shape], Inference]) -> ShapeRule:
    """A rule that needs the shape of slot `data` and nothing else."""

    @functools.wraps(rule)
    def infer(params: Params, inputs: Mapping[str, Shape | None]) -> Inference | None:
        data = inputs["data"]
        return None if data is None or not is_complete(data) else rule(params, data)

    return infer


def from_all_inputs(rule: Callable[[Params, list[Shape]], list[Shape]]) -> ShapeRule:
    """A rule that needs the shapes of all inputs, and infers none of them."""

    @functools.wraps(rule)
    def infer(params: Params, inputs: Mapping[str, Shape | None]) -> Inference | None:
        shapes = [shape for shape in inputs.values() if shape is not None and is_complete(shape)]
        return None if len(shapes) < len(inputs) else ({}, rule(params, shapes))

    return infer


def same_shape(_params: Params, inputs: Mapping[str, Shape | None]) -> Inference | None:
    """All inputs and the output have one shape, whichever tells it."""
    shape: Shape | None = None
    for other in inputs.values():
        shape = merge_shapes(shape, other)
    return None if shape is None else (dict.fromkeys(inputs, shape), [shape])


def require_rank(shape: Shape, rank: int) -> None:
    if len(shape) != rank:
        raise GraphError(f"needs an input of {rank} dimensions, not {len(shape)}")


def require_channels_first(layout: str | None) -> None:
    if layout is not None and not layout.startswith("NC"):
        raise GraphError(f"layout {layout} is not supported; only NCW, NCHW and NCDHW are")


def normalize_axis(axis: int, rank: int) -> int:
    """A count from the front; raises GraphError for an axis that does not exist."""
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} does not exist in an input of {rank} dimensions")
    return axis % rank


def window_positions(size: int, kernel: int, stride: int, pad: int, *, dilate: int = 1, round_up: bool = False) -> int:
    """How often a window fits along one axis.

    Raises GraphError when it does not fit once.
    """
    reach = dilate * (kernel - 1) + 1
    room = size + 2 * pad - reach
    if room < 0:
        raise GraphError(f"a window of {reach} does not fit in a padded map of {size + 2 * pad}")
    return 1 + (ceil(room / stride) if round_up else room // stride)


def fill_window(values: dict[str, Any], *, rank: int, one: tuple[str, ...], zero: tuple[str, ...]) -> None:
    """Give window parameters that were left empty one entry an axis: 1 for stride and dilate, 0 for pad.

    Raises GraphError for one that has another number of entries.
    """
    for names, default in ((one, 1), (zero, 0)):
        for name in names:
            values[name] = values[name] or (default,) * rank
            if len(values[name]) != rank:
                raise GraphError(f"{name} {values[name]} must have as many entries as the kernel, {rank}")
