"""Sizes that do not fit are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxface.errors import GraphError
from mxface.graph import Variable, sym
from mxface.ops import Shape
from mxface.ops.reshape import resolve_reshape
from mxface.ops.shapes import merge_shapes, window_positions

MISFITS: list[tuple[str, tuple[Shape, ...], dict[str, Any], str]] = [
    (
        "Convolution",
        ((1, 4, 4, 4),),
        {"kernel": (7, 7), "num_filter": 8},
        "window of 7 does not fit in a padded map of 4",
    ),
    (
        "Convolution",
        ((1, 4, 9, 9),),
        {"kernel": (3, 3), "num_filter": 8, "num_group": 3},
        "num_group 3 does not divide 4",
    ),
    ("Convolution", ((1, 4),), {"kernel": (3, 3), "num_filter": 8}, "needs an input of 4 dimensions, not 2"),
    ("Convolution", ((1, 9, 9, 4),), {"kernel": (3, 3), "num_filter": 8, "layout": "NHWC"}, "layout NHWC"),
    ("Pooling", ((1, 4, 4, 4),), {"kernel": (5, 5)}, "window of 5 does not fit"),
    ("elemwise_add", ((2, 3), (2, 4)), {}, r"shape \(2, 3\) does not agree with \(2, 4\)"),
    ("broadcast_mul", ((2, 3), (2, 4)), {}, r"\(2, 3\) and \(2, 4\) cannot be broadcast"),
    ("Concat", ((2, 3), (3, 3)), {}, r"\(3, 3\) cannot be joined to \(2, 3\) along axis 1"),
    ("Crop", ((1, 1, 4, 4), (1, 1, 5, 4)), {}, r"a crop of \(5, 4\) at \(0, 0\) leaves the map of \(4, 4\)"),
    ("Custom", ((1, 3, 8), (1, 8)), {"op_type": "rpn_fpn_ohem3"}, "needs scores of shape"),
    ("Custom", ((1, 2, 8), (1, 9)), {"op_type": "rpn_fpn_ohem3"}, r"shape \(1, 9\) does not agree with \(1, 8\)"),
    (
        "_contrib_DeformableConvolution",
        ((1, 4, 8, 8), (1, 9, 6, 6)),
        {"kernel": (3, 3), "num_filter": 8},
        r"shape \(1, 9, 6, 6\) does not agree with \(1, 18, 6, 6\)",
    ),
    (
        "_contrib_DeformableConvolution",
        ((1, 4, 8, 8), (1, 18, 6, 6)),
        {"kernel": (3, 3), "num_filter": 8, "num_deformable_group": 3},
        "num_deformable_group 3 does not divide 4 input channels",
    ),
    ("Reshape", ((2, 3),), {"shape": (4, 2)}, "6 values, not 8"),
    ("Reshape", ((2, 3),), {"shape": (0, 0, 0)}, "asks for more axes"),
    ("Reshape", ((2, 3),), {"target_shape": (3, 2)}, "target_shape and keep_highest"),
    ("transpose", ((2, 3),), {"axes": (0, 0)}, "do not name each of 2 axes once"),
    ("slice_axis", ((2, 3),), {"axis": 1, "begin": 2, "end": 2}, "slice 2:2 of 3 elements is empty"),
    ("slice_axis", ((2, 3),), {"axis": 2, "begin": 0, "end": 1}, "axis 2 does not exist in an input of 2 dimensions"),
    ("slice", ((2,),), {"begin": (0, 0), "end": (1, 1)}, "names more axes"),
    ("SliceChannel", ((2, 3),), {"num_outputs": 2}, "3 elements of axis 1 cannot be cut into 2 equal parts"),
    ("SliceChannel", ((2, 4),), {"num_outputs": 2, "squeeze_axis": True}, "parts of length 1, not 2"),
    ("SoftmaxOutput", ((2, 4), (3,)), {}, r"a label of shape \(3,\) does not fit; needs \(2,\) or \(2, 4\)"),
    ("pick", ((2, 4), (4,)), {}, r"an index of shape \(4,\) does not fit; needs \(2,\)"),
    ("pick", ((2, 4), (2,)), {"axis": None}, "axis=None is not supported"),
    ("Pad", ((1, 1, 4, 4),), {"mode": "edge", "pad_width": (1, 1)}, "pad_width needs a"),
    ("UpSampling", ((1, 1, 4, 4), (1, 1, 3, 3)), {"scale": 2, "sample_type": "nearest"}, "cannot be repeated"),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "reason"), MISFITS)
def test_misfits(op: str, inputs: tuple[Shape, ...], attrs: dict[str, Any], reason: str) -> None:
    symbol = getattr(sym, op)(*(Variable(f"in{i}") for i in range(len(inputs))), **attrs, name="misfit")
    with pytest.raises(GraphError, match=rf"{op} 'misfit': .*{reason}.*\(its inputs: .*{inputs[0][-1]}"):
        symbol.infer_shape(**{f"in{i}": shape for i, shape in enumerate(inputs)})


def test_pooling_without_a_kernel_is_refused() -> None:
    with pytest.raises(GraphError, match="node 'p': Pooling needs a kernel unless global_pool is True"):
        sym.Pooling(Variable("data"), name="p")


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.booleans())
def test_windows_are_counted_as_they_are_placed(
    size: int, kernel: int, stride: int, pad: int, dilate: int, round_up: bool
) -> None:
    reach = dilate * (kernel - 1) + 1
    padded = size + 2 * pad
    if reach > padded:
        with pytest.raises(GraphError):
            window_positions(size, kernel, stride, pad, dilate=dilate, round_up=round_up)
        return
    fitting = [start for start in range(0, padded, stride) if start + reach <= padded]
    leftover = fitting[-1] + reach < padded
    expected = len(fitting) + (round_up and leftover and (padded - reach) % stride > 0)
    assert window_positions(size, kernel, stride, pad, dilate=dilate, round_up=round_up) == expected


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_reshape_keeps_the_number_of_values(data: list[int], draw: st.DataObject) -> None:
    kept = draw.draw(st.integers(0, len(data) - 1))
    assert resolve_reshape(tuple(data), (0,) * kept + (-2,)) == tuple(data)
    shape = resolve_reshape(tuple(data), (0,) * kept + (-1,))
    assert shape[:kept] == tuple(data[:kept])


def test_partial_shapes_complete_each_other() -> None:
    assert merge_shapes((64, 0, 3), (0, 8, 3)) == (64, 8, 3)
    assert merge_shapes(None, (2,)) == merge_shapes((2,), None) == (2,)
    with pytest.raises(GraphError):
        merge_shapes((2, 3), (2, 3, 1))


def test_a_slope_that_is_declared_stays() -> None:
    shared = Variable("alpha", shape=(1,))
    arguments, _, _ = sym.LeakyReLU(Variable("data"), shared, act_type="prelu").infer_shape(data=(2, 4, 3, 3))
    assert arguments["alpha"] == (1,)
