"""The losses of alignment/'s networks: cross-entropy of each heat map as a distribution over its positions."""

from __future__ import annotations

from collections.abc import Sequence

from mxface.graph import Group, Symbol, sym

MIRROR_ORDER = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # ridge of the nose
    *range(35, 30, -1),  # wings of the nose
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *range(54, 47, -1),  # outer lip, above
    *range(59, 54, -1),  # outer lip, below
    *range(64, 59, -1),  # inner lip, above
    *range(67, 64, -1),  # inner lip, below
)
"""Which of the 68 landmarks is in the place of each in a mirrored face."""

LANDMARKS = len(MIRROR_ORDER)
COHERENT_SCALE = 0.0001


def loss_outputs(losses: Sequence[Symbol], distances: Sequence[Symbol], heatmap: Symbol) -> Symbol:
    """[a loss for each stack, the mean of the mirror distances if there are any, the last heat map]."""
    parts = [sym.MakeLoss(loss) for loss in losses]
    if distances:
        parts.append(sym.MakeLoss(sym.add_n(*distances), grad_scale=COHERENT_SCALE))
    return Group([*parts, sym.BlockGrad(heatmap)])


def spatial_cross_entropy(heatmap: Symbol, label: Symbol) -> Symbol:
    """The mean over everything, positions too, of -label log(softmax over positions); a label like the heat map.

    As MXNet computed it: where float32 rounds the softmax to 0, a label of 0 gives a value that is not a number.
    """
    above = sym.broadcast_minus(heatmap, sym.max(heatmap, axis=[2, 3], keepdims=True))
    powers = sym.exp(above)
    shares = sym.broadcast_div(powers, sym.sum(powers, axis=[2, 3], keepdims=True))
    return sym.mean(sym.log(shares) * label * -1.0)


def mirror_distance(heatmap: Symbol, batch: int) -> Symbol:
    """Smooth L1 between the heat maps of a half batch, mirrored, and the other half, of the mirrored images."""
    first = sym.slice_axis(heatmap, axis=0, begin=0, end=batch // 2)
    second = sym.slice_axis(heatmap, axis=0, begin=batch // 2, end=batch)
    mirrored = sym.flip(first, axis=3)
    points = [sym.slice_axis(mirrored, axis=1, begin=point, end=point + 1) for point in MIRROR_ORDER]
    return sym.mean(sym.smooth_l1(sym.Concat(*points, dim=1) - second, scalar=1.0))
