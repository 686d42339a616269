"""BatchNorm folded: where it can be, and only there; the values stay."""

from __future__ import annotations

import pytest
import torch
from tests.runtime.networks import embedding_network, random_checkpoint, shared_network

from mxface.graph import Symbol
from mxface.lower import lower
from mxface.lower.batch_norm import batch_norm
from mxface.runtime.fold import fold_batch_norm


@pytest.mark.parametrize(
    ("symbol", "left"),
    [(embedding_network(), {"leading_bn", "branch_bn"}), (shared_network(), {"a_bn", "b_bn"})],
    ids=["embedding", "shared"],
)
def test_values_stay_and_only_these_are_left(symbol: Symbol, left: set[str]) -> None:
    checkpoint = random_checkpoint(symbol, (3, 12, 12))
    params = {**checkpoint.arg_params, **checkpoint.aux_params}
    plain, folded = lower(symbol, params).eval(), fold_batch_norm(lower(symbol, params).eval())
    data = torch.rand(4, 3, 12, 12) * 255
    with torch.no_grad():
        torch.testing.assert_close(folded(data), plain(data), rtol=1e-5, atol=1e-5)
    assert {node.name for node in folded.graph.nodes if node.target is batch_norm} == left


def test_parameters_that_nothing_reads_are_gone() -> None:
    checkpoint = random_checkpoint(embedding_network(), (3, 12, 12))
    folded = fold_batch_norm(lower(embedding_network(), {**checkpoint.arg_params, **checkpoint.aux_params}).eval())
    of_plain_unit = {name for name in folded.state_dict() if name.startswith("plain")}
    assert of_plain_unit == {"plain_conv_weight", "plain_bn_bias", "plain_relu_gamma"}
