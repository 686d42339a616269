"""Heat map networks and their losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable
from mxface.lower import lower
from mxface.symbols import get_symbol
from mxface.symbols.heatmap.blocks import BLOCKS
from mxface.symbols.heatmap.loss import LANDMARKS, MIRROR_ORDER, mirror_distance, spatial_cross_entropy

HOURGLASS: dict[str, Any] = {}
SDU: dict[str, Any] = {"net_sta": 1, "net_dcn": 3, "net_block": "cab"}
NAMED = pytest.mark.parametrize("network", [HOURGLASS, SDU], ids=["hourglass", "sdu"])


def build(**options: Any) -> Symbol:
    return get_symbol("heatmap", family="alignment", **options)


def outputs(symbol: Symbol) -> list[str]:
    return symbol.get_internals().list_outputs()


@NAMED
def test_a_heat_map_for_each_landmark(network: dict[str, Any]) -> None:
    symbol = build(**network, num_classes=5)
    assert symbol.list_outputs() == ["heatmap_output"]
    assert symbol.infer_shape(data=(2, 3, 128, 128))[1] == [(2, 5, 64, 64)]


@NAMED
def test_built_twice_it_has_the_same_names(network: dict[str, Any]) -> None:
    assert build(**network).tojson() == build(**network).tojson()


@NAMED
def test_trained_it_has_a_loss_for_each_stack(network: dict[str, Any]) -> None:
    symbol = build(**network, net_stacks=3, training=True, per_batch_size=4)
    assert symbol.list_outputs() == ["makeloss0_output", "makeloss1_output", "makeloss2_output", "blockgrad0_output"]
    arguments, shapes, _ = symbol.infer_shape(data=(4, 3, 128, 128))
    assert shapes == [(1,), (1,), (1,), (4, LANDMARKS, 64, 64)]
    assert arguments["softmax_label"] == (4, LANDMARKS, 64, 64)


def test_the_network_that_predicts_is_a_part_of_the_one_that_is_trained() -> None:
    for options in (HOURGLASS, SDU, {"net_block": "inception"}):
        trained = build(**options, training=True).get_internals()["heatmap_output"]
        assert trained.tojson() == build(**options).tojson()


@pytest.mark.parametrize("net_block", BLOCKS)
@pytest.mark.parametrize("multiplier", [0.5, 1.0, 2.0])
def test_every_block_in_every_width(net_block: str, multiplier: float) -> None:
    for net_sta in (0, 1):
        symbol = build(net_block=net_block, multiplier=multiplier, net_sta=net_sta, net_n=2, net_stacks=1)
        assert symbol.infer_shape(data=(1, 3, 128, 128))[1] == [(1, LANDMARKS, 64, 64)]


@pytest.mark.parametrize("net_dcn", [0, 1, 2, 3])
def test_where_deformable_convolutions_are(net_dcn: int) -> None:
    deformable = {n.name for n in build(net_dcn=net_dcn).nodes if n.op == "_contrib_DeformableConvolution"}
    between = {"stack0_out3"} if net_dcn in (1, 3) else set()
    inside = {"stack0_ll_conv", "stack1_ll_conv", "heatmap0", "heatmap"} if net_dcn in (2, 3) else set()
    assert deformable == between | inside


@pytest.mark.parametrize("size", [128, 256])
def test_a_quarter_or_a_half_of_the_image(size: int) -> None:
    symbol = build(input_img_size=size, output_label_size=64, net_n=2)
    assert symbol.infer_shape(data=(1, 3, size, size))[1] == [(1, LANDMARKS, 64, 64)]


def test_the_coherent_loss_is_one_more() -> None:
    symbol = build(net_coherent=True, training=True, per_batch_size=2)
    assert symbol.list_outputs()[-2:] == ["makeloss2_output", "blockgrad0_output"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net_block": "vgg"}, "net_block='vgg' does not exist; choose one of resnet, hpm, inception, cab"),
        ({"net_sta": 3}, "net_sta=3 does not exist; choose one of 0, 1, 2"),
        ({"net_dcn": 4}, "net_dcn=4 does not exist"),
        ({"net_binarize": True}, "net_binarize=True needs operators of a private MXNet; set it to False"),
        ({"input_img_size": 64}, "input_img_size=64 must be two or four times output_label_size=64"),
        ({"net_coherent": True, "per_batch_size": 3}, "per_batch_size=3 must be even with net_coherent=True"),
        ({"net_coherent": True, "num_classes": 106}, "net_coherent=True mirrors 68 points, not num_classes=106"),
        ({"net_stacks": 0}, "net_stacks=0 must be above 0"),
        ({"net_n": 7}, r"cannot take images of 128x128: Pooling 'pooling\d+'"),
        ({"emb_size": 512}, "heatmap has no option emb_size; there are num_classes, multiplier"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_mirrored_twice_is_in_place_again() -> None:
    assert sorted(MIRROR_ORDER) == list(range(LANDMARKS))
    assert [MIRROR_ORDER[point] for point in MIRROR_ORDER] == list(range(LANDMARKS))


def test_the_cross_entropy() -> None:
    loss = lower(spatial_cross_entropy(Variable("data"), Variable("label")), {}, inputs=("data", "label"))
    rng = np.random.default_rng(0)
    heatmap, label = (torch.from_numpy(rng.normal(size=(2, 3, 4, 5)).astype(np.float32)) for _ in range(2))
    expected = -(label * torch.log_softmax(heatmap.flatten(2), 2).view_as(heatmap)).mean()
    torch.testing.assert_close(loss(heatmap, label), expected.view(1))


def test_mirrored_heat_maps_have_no_distance() -> None:
    distance = lower(mirror_distance(Variable("data"), 4), {})
    first = torch.rand(2, LANDMARKS, 6, 6)
    mirrored = first.flip(3)[:, list(MIRROR_ORDER)]
    assert distance(torch.cat([first, mirrored])).item() == 0
    assert distance(torch.cat([first, first])).item() > 0.01
