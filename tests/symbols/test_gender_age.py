"""The loss graph of gender-age/train.py."""

from __future__ import annotations

import pytest

from mxface.errors import ConfigError
from mxface.graph import Symbol
from mxface.symbols import get_symbol
from mxface.symbols.gender_age import OUTPUTS, gender_age_loss


def scores() -> Symbol:
    return get_symbol("fmobilenet", family="gender_age", net_multiplier=0.25, net_output="GAP")


def test_one_softmax_a_question() -> None:
    loss = gender_age_loss(scores(), batch_size=3)
    arguments, outputs, _ = loss.infer_shape(data=(3, 3, 112, 112), softmax_label=(3, 101))
    assert loss.list_outputs() == [
        "gender_softmax_output",
        *(f"age_softmax_{age}_output" for age in range(100)),
        "blockgrad0_output",
    ]
    assert outputs == [*[(3, 2)] * 101, (3, OUTPUTS)]
    assert [name for name in arguments if "label" in name] == ["softmax_label"]


def test_the_batch_size_stands_in_the_graph() -> None:
    shapes = {node.attrs["shape"] for node in gender_age_loss(scores(), batch_size=5).nodes if node.op == "Reshape"}
    assert shapes == {"(5,)"}
    with pytest.raises(ConfigError, match="batch_size=0 must be above 0"):
        gender_age_loss(scores(), batch_size=0)


def test_it_is_built_twice_alike() -> None:
    network = scores()
    assert gender_age_loss(network, batch_size=2).tojson() == gender_age_loss(network, batch_size=2).tojson()
