"""2019's count of operations."""

from __future__ import annotations

import pytest

from mxface.graph import Variable, sym
from mxface.graph.flops import count_flops, flops_text


def test_a_convolution() -> None:
    """10 x 7 x 7 values, each of 3 x 3 x 3 products and their sum."""
    without_bias = sym.Convolution(Variable("data"), num_filter=10, kernel=(3, 3), no_bias=True)
    assert count_flops(without_bias, data=(1, 3, 9, 9)) == (27 + 26) * 490
    with_bias = sym.Convolution(Variable("data"), num_filter=10, kernel=(3, 3))
    assert count_flops(with_bias, data=(1, 3, 9, 9)) == (27 + 27) * 490


def test_groups_divide_the_count_of_all_input_channels() -> None:
    net = sym.Convolution(Variable("data"), num_filter=4, num_group=4, kernel=(1, 1), no_bias=True)
    assert count_flops(net, data=(1, 4, 5, 5)) == (2 * 4 - 1) * 100 // 4


@pytest.mark.parametrize("shape", [(1, 12), (1, 3, 2, 2)])
def test_a_fully_connected_layer_on_a_row_or_a_map(shape: tuple[int, ...]) -> None:
    assert count_flops(sym.FullyConnected(Variable("data"), num_hidden=5, no_bias=True), data=shape) == 2 * 60 - 5
    assert count_flops(sym.FullyConnected(Variable("data"), num_hidden=5), data=shape) == 2 * 60


def test_everything_else_is_free() -> None:
    assert count_flops(sym.Activation(Variable("data") * 2, act_type="relu"), data=(1, 3)) == 0


@pytest.mark.parametrize(
    ("flops", "text"), [(0, "0.0"), (999, "999.0"), (1000, "1.0K"), (999_999, "1000.0K"), (439_821_056, "439.8M")]
)
def test_text(flops: int, text: str) -> None:
    assert flops_text(flops) == text
