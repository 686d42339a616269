"""Operators that rearrange, cut, join, repeat and pad arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from mxface.export.registry import OnnxNode, exports

LARGEST, SMALLEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
"""Ends of a slice that reach as far as there are elements."""


@exports("Concat")
def concat(op: OnnxNode) -> list[str]:
    return op.emit("Concat", op.inputs, axis=op.params["dim"])


@exports("SliceChannel")
def slice_channel(op: OnnxNode) -> list[str]:
    count, axis = op.params["num_outputs"], op.params["axis"]
    if not op.params["squeeze_axis"]:
        return op.emit_several(count, "Split", [op.data], axis=axis)
    axes = op.ints("axis", [axis])
    if count == 1:
        return op.emit("Squeeze", [op.data, axes])
    index = (op.ints(f"index{part}", part) for part in range(count))
    return [op.step(str(part), "Gather", op.data, position, axis=axis) for part, position in enumerate(index)]


@exports("slice")
def slice_array(op: OnnxNode) -> list[str]:
    begin, end, step = (op.params[name] for name in ("begin", "end", "step"))
    starts, ends, strides = [], [], []
    for start, stop, stride in zip_longest(begin, end, step):
        forward = stride is None or stride > 0
        starts.append((0 if forward else LARGEST) if start is None else start)
        ends.append((LARGEST if forward else SMALLEST) if stop is None else stop)
        strides.append(1 if stride is None else stride)
    return cut(op, starts, ends, strides, range(len(starts)))


@exports("slice_axis")
def slice_axis(op: OnnxNode) -> list[str]:
    end = op.params["end"]
    return cut(op, [op.params["begin"]], [LARGEST if end is None else end], [1], [op.params["axis"]])


@exports("reverse")
def reverse(op: OnnxNode) -> list[str]:
    axes = op.params["axis"]
    count = len(axes)
    return cut(op, [LARGEST] * count, [SMALLEST] * count, [-1] * count, axes)


def cut(
    op: OnnxNode, starts: Sequence[int], ends: Sequence[int], strides: Sequence[int], axes: Sequence[int]
) -> list[str]:
    bounds = {"starts": starts, "ends": ends, "axes": axes, "steps": strides}
    return op.emit("Slice", [op.data, *(op.ints(label, list(values)) for label, values in bounds.items())])


@exports("Crop")
def crop(op: OnnxNode) -> list[str]:
    if len(op.inputs) > 1:
        size = op.step("size", "Shape", op.inputs[1], start=2)
    else:
        size = op.ints("size", op.params["h_w"])
    start = op.ints("start", op.params["offset"])
    if op.params["center_crop"]:
        margin = op.step("margin", "Sub", op.step("whole", "Shape", op.data, start=2), size)
        start = op.step("centre", "Div", margin, op.ints("two", 2))
    return op.emit("Slice", [op.data, start, op.step("end", "Add", start, size), op.ints("axes", [2, 3])])


@exports("Pad")
def pad(op: OnnxNode) -> list[str]:
    width = op.params["pad_width"]
    inputs = [op.data, op.ints("widths", [*width[::2], *width[1::2]])]
    if op.params["mode"] == "constant":
        inputs.append(op.floats("value", op.params["constant_value"]))
    return op.emit("Pad", inputs, mode=op.params["mode"])


@exports("tile")
def tile(op: OnnxNode) -> list[str]:
    reps, data = list(op.params["reps"]), op.data
    missing = len(reps) - op.rank(data)
    if missing > 0:
        data = op.step("raised", "Unsqueeze", data, op.ints("axes", list(range(missing))))
    return op.emit("Tile", [data, op.ints("reps", [1] * -missing + reps)])


@exports("transpose")
def transpose(op: OnnxNode) -> list[str]:
    return op.emit("Transpose", [op.data], perm=op.params["axes"] or list(reversed(range(op.rank(op.data)))))


@exports("expand_dims")
def expand_dims(op: OnnxNode) -> list[str]:
    return op.emit("Unsqueeze", [op.data, op.ints("axes", [op.params["axis"]])])


@exports("UpSampling")
def upsampling(op: OnnxNode) -> list[str]:
    height, width = (op.size(op.data, axis) * op.params["scale"] for axis in (2, 3))
    scales = [[1, 1, height // op.size(data, 2), width // op.size(data, 3)] for data in op.inputs]
    if len(op.inputs) == 1:
        return op.emit("Resize", [op.data, "", op.floats("scales", scales[0])], **NEAREST)
    maps = [
        op.step(f"map{index}", "Resize", data, "", op.floats(f"scales{index}", scale), **NEAREST)
        for index, (data, scale) in enumerate(zip(op.inputs, scales, strict=True))
    ]
    return op.emit("Sum", maps) if op.params["multi_input_mode"] == "sum" else op.emit("Concat", maps, axis=1)


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""Every value repeated."""


@exports("Reshape")
def reshape(op: OnnxNode) -> list[str]:
    codes = op.params["shape"]
    if min(codes) >= -1 and not op.params["reverse"]:  # 0 and -1 mean the same in ONNX
        return op.emit("Reshape", [op.data, op.ints("target", codes)])
    direction = -1 if op.params["reverse"] else 1
    axes = list(range(op.rank(op.data)))[::direction]
    sizes = resolve_codes(op, list(codes)[::direction], axes)[::direction]
    return op.emit("Reshape", [op.data, op.step("target", "Concat", *sizes, axis=0)])


def resolve_codes(op: OnnxNode, codes: list[int], axes: list[int]) -> list[str]:
    """MXNet's codes (ops/reshape.py) as ONNX values that hold a size each, or several."""

    def size(axis: int) -> str:
        return op.step(f"size{axis}", "Shape", op.data, start=axis, end=axis + 1)

    sizes: list[str] = []
    while codes:
        code = codes.pop(0)
        place = f"part{len(sizes)}"
        if code == 0:
            sizes.append(size(axes.pop(0)))
        elif code == -2:
            sizes += map(size, axes)
            axes.clear()
        elif code == -3:
            sizes.append(op.step(place, "Mul", size(axes.pop(0)), size(axes.pop(0))))
        elif code == -4:
            whole, first, second = size(axes.pop(0)), codes.pop(0), codes.pop(0)
            known = op.ints(place, [second if first == -1 else first])
            rest = op.step(f"{place}_rest", "Div", whole, known)
            sizes += [rest, known] if first == -1 else [known, rest]
        else:
            sizes.append(op.ints(place, [code]))
            del axes[:1]
    return sizes
