"""Reshape, with MXNet's codes.

0 copies a size, -1 is what remains, -2 copies all sizes that remain, -3 joins two, -4 splits one into the next two.
"""

from __future__ import annotations

from math import prod

from mxface.errors import GraphError
from mxface.ops.params import Param, parse_bool, parse_ints
from mxface.ops.shapes import Inference, from_data
from mxface.ops.spec import OpSpec, Params, Shape, register


@from_data
def reshape_shape(params: Params, data: Shape) -> Inference:
    if params["target_shape"] or params["keep_highest"]:
        raise GraphError("target_shape and keep_highest (before MXNet 0.9) are not supported; give shape instead")
    if params["reverse"]:
        return {}, [resolve_reshape(data[::-1], params["shape"][::-1])[::-1]]
    return {}, [resolve_reshape(data, params["shape"])]


def resolve_reshape(data: Shape, codes: tuple[int, ...]) -> Shape:
    """The shape that `codes` ask for. Raises GraphError where sizes do not work out."""
    remaining = list(data)
    words = list(codes)
    sizes: list[int] = []

    def take() -> int:
        if not remaining:
            raise GraphError(f"shape {codes} asks for more axes than {data} has")
        return remaining.pop(0)

    while words:
        code = words.pop(0)
        if code == 0:
            sizes.append(take())
        elif code == -2:
            sizes += remaining
            remaining.clear()
        elif code == -3:
            sizes.append(take() * take())
        elif code == -4:
            whole, first, second = take(), *split_sizes(words)
            sizes += [whole // second if first == -1 else first, whole // first if second == -1 else second]
        else:
            sizes.append(code)
            if remaining:
                remaining.pop(0)
    if -1 in sizes:
        sizes[sizes.index(-1)] = prod(data) // prod(size for size in sizes if size != -1)
    if min(sizes, default=1) < 1:
        raise GraphError(f"shape {codes} has a code that does not exist, or more than one -1")
    if prod(sizes) != prod(data):
        raise GraphError(f"{data} cannot take the shape {codes}: {prod(data)} values, not {prod(sizes)}")
    return tuple(sizes)


def split_sizes(words: list[int]) -> tuple[int, int]:
    """The two sizes that follow a -4, taken from `words`; one of them may be -1."""
    if len(words) < 2 or min(words[:2]) < -1 or 0 in words[:2] or words[0] == words[1] == -1:
        raise GraphError("the code -4 needs two sizes behind it, at most one of them -1")
    return words.pop(0), words.pop(0)


RESHAPE = register(
    OpSpec(
        name="Reshape",
        functions=("reshape",),
        params={
            "shape": Param(parse_ints, ()),
            "reverse": Param(parse_bool, False),
            "target_shape": Param(parse_ints, ()),
            "keep_highest": Param(parse_bool, False),
        },
        infer_shape=reshape_shape,
    )
)
