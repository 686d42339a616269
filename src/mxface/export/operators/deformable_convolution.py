"""Deformable convolution, plain and modulated: GridSample reads the taps, a 1x1 convolution weighs them.

ONNX has a DeformConv since opset 19, with the modulated form's border, which is wrong for the plain form (see
lower/deformable_convolution.py), and few runtimes compute it. The two borders are GridSample's "border" and "zeros".
"""

from __future__ import annotations

from math import prod

import numpy as np

from mxface.export.registry import OnnxNode, exports


@exports("_contrib_DeformableConvolution")
def deformable_convolution(op: OnnxNode) -> list[str]:
    """Neighbours beyond the border repeat it; a tap whose own centre is outside counts as 0."""
    data, offset, *weights = op.inputs
    positions = tap_positions(op, offset)
    taps = sample(op, data, positions, border="border")
    inside = op.step("inside", "And", *(is_inside(op, data, positions[axis], axis) for axis in (0, 1)))
    share = op.step("share", "Cast", inside, to=op.element_type(np.float32))
    return multiply(op, taps, share, weights)


@exports("_contrib_ModulatedDeformableConvolution")
def modulated_deformable_convolution(op: OnnxNode) -> list[str]:
    data, offset, mask, *weights = op.inputs
    taps = sample(op, data, tap_positions(op, offset), border="zeros")
    return multiply(op, taps, groups_as_images(op, "share", mask, tap_count(op)), weights)


def tap_count(op: OnnxNode) -> int:
    return prod(op.params["kernel"])


def groups_as_images(op: OnnxNode, label: str, value: str, channels: int) -> str:
    """(N, groups x channels, H, W) -> (N x groups, channels, H, W): each deformable group by itself."""
    if op.params["num_deformable_group"] == 1:
        return value
    return op.step(label, "Reshape", value, op.spatial_sizes(f"{label}_sizes", value, -1, channels))


def tap_positions(op: OnnxNode, offset: str) -> list[str]:
    """Rows and columns of every tap, each (N x groups, taps, H', W')."""
    target = op.spatial_sizes("moves_sizes", offset, -1, tap_count(op), 2)
    moves = op.step("moves", "Reshape", offset, target)
    kernel = np.indices(op.params["kernel"]).reshape(2, -1, 1, 1)
    positions = []
    for axis, name in enumerate(("row", "column")):
        zero, one = op.ints(f"{name}_zero", 0), op.ints(f"{name}_one", 1)
        count = op.step(f"{name}_count", "Gather", op.step(f"{name}_shape", "Shape", offset, start=2 + axis), zero)
        steps = op.step(f"{name}_range", "Range", zero, count, one)
        if axis == 0:  # rows vary along the last axis but one
            steps = op.step(f"{name}_upright", "Unsqueeze", steps, op.ints(f"{name}_axes", [1]))
        strided = op.step(f"{name}_strided", "Mul", steps, op.ints(f"{name}_stride", op.params["stride"][axis]))
        origin = op.ints(f"{name}_kernel", kernel[axis] * op.params["dilate"][axis] - op.params["pad"][axis])
        grid = op.step(f"{name}_grid", "Add", strided, origin)
        still = op.step(f"{name}_still", "Cast", grid, to=op.element_type(np.float32))
        moved = op.step(f"{name}_move", "Gather", moves, op.ints(f"{name}_index", axis), axis=2)
        positions.append(op.step(f"{name}s", "Add", moved, still))
    return positions


def image_size(op: OnnxNode, label: str, data: str, axis: int) -> str:
    size = op.step(f"{label}_int", "Shape", data, start=2 + axis, end=3 + axis)
    return op.step(label, "Cast", size, to=op.element_type(np.float32))


def is_inside(op: OnnxNode, data: str, position: str, axis: int) -> str:
    size = image_size(op, f"limit{axis}", data, axis)
    from_zero = op.step(f"from_zero{axis}", "GreaterOrEqual", position, op.floats(f"zero{axis}", 0))
    return op.step(f"inside{axis}", "And", from_zero, op.step(f"below{axis}", "Less", position, size))


def sample(op: OnnxNode, data: str, positions: list[str], border: str) -> str:
    """Bilinear values (N x groups, C / groups, taps, H' W')."""
    parts = []
    for axis in (1, 0):  # GridSample takes x, then y, where the image reaches from -1 to 1
        size = image_size(op, f"size{axis}", data, axis)
        twice = op.step(f"twice{axis}", "Mul", positions[axis], op.floats(f"two{axis}", 2))
        from_edge = op.step(f"from_edge{axis}", "Add", twice, op.floats(f"one{axis}", 1))
        fraction = op.step(f"fraction{axis}", "Div", from_edge, size)
        centred = op.step(f"centred{axis}", "Sub", fraction, op.floats(f"middle{axis}", 1))
        parts.append(op.step(f"last{axis}", "Unsqueeze", centred, op.ints(f"axes{axis}", [-1])))
    points = op.step("points", "Concat", *parts, axis=-1)
    grid = op.step("grid", "Reshape", points, op.ints("grid_sizes", [0, tap_count(op), -1, 2]))
    images = groups_as_images(op, "images", data, op.size(data, 1) // op.params["num_deformable_group"])
    return op.step("taps", "GridSample", images, grid, mode="bilinear", padding_mode=border, align_corners=0)


def multiply(op: OnnxNode, taps: str, share: str, weights: list[str]) -> list[str]:
    """The taps, each by its share (N x groups, taps, H', W'), under the weight."""
    shares = op.step("shares", "Reshape", share, op.ints("shares_sizes", [0, 1, tap_count(op), -1]))
    weighed = op.step("weighed", "Mul", taps, shares)
    channels = op.size(op.data, 1) * tap_count(op)
    maps = op.step("maps", "Reshape", weighed, op.spatial_sizes("maps_sizes", op.inputs[1], -1, channels))
    weight = op.parameter(weights[0])
    kernel = op.floats("kernel", weight.reshape(len(weight), -1, 1, 1))
    return op.emit("Conv", [maps, kernel, *weights[1:]], kernel_shape=[1, 1], group=op.params["num_group"])
