"""RetinaFace's graphs on a small backbone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.symbols import smallest

from mxface.errors import ConfigError
from mxface.graph import Symbol, Variable
from mxface.ops import Shape
from mxface.symbols import get_symbol
from mxface.symbols.retinaface.pyramid import backbone_layers

SIDE = 128
STRIDES = (128, 64, 32, 16, 8, 4)


def build(network: str = "mnet", **options: Any) -> Symbol:
    return smallest.build(network, family="retinaface", **options)


def output_shapes(symbol: Symbol) -> dict[str, Shape]:
    _, shapes, _ = symbol.infer_shape(data=(2, 3, SIDE, SIDE))
    return dict(zip(symbol.list_outputs(), shapes, strict=True))


def trained(**options: Any) -> list[str]:
    return build(training=True, **options).list_outputs()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_three_outputs_a_stride_from_the_largest(count: int) -> None:
    strides = {1: (16,), 2: (16, 8), 3: STRIDES[2:5], 4: STRIDES[2:], 5: STRIDES[1:], 6: STRIDES}[count]
    expected: dict[str, Shape] = {}
    for stride in strides:
        cells = SIDE // stride
        expected[f"face_rpn_cls_prob_reshape_stride{stride}_output"] = (2, 6, cells, cells)
        expected[f"face_rpn_bbox_pred_stride{stride}_output"] = (2, 12, cells, cells)
        expected[f"face_rpn_landmark_pred_stride{stride}_output"] = (2, 30, cells, cells)
    found = output_shapes(build(rpn_feat_stride=strides, num_anchors=3))
    assert found == expected
    assert list(found) == list(expected)


def test_trained_it_has_six_outputs_a_stride() -> None:
    names = trained()
    assert len(names) == 18
    assert names[:6] == [
        "face_rpn_cls_prob_stride32_output",
        "blockgrad0_output",
        "face_rpn_bbox_loss_stride32_output",
        "blockgrad1_output",
        "face_rpn_landmark_loss_stride32_output",
        "blockgrad2_output",
    ]


def test_heads_are_trained_beside_faces_and_predicted_by_nobody() -> None:
    names = trained(head_box=True)
    assert len(names) == 30
    assert "head_rpn_bbox_loss_stride8_output" in names
    assert build(head_box=True).tojson() == build().tojson()


def test_what_is_trained_is_what_is_saved() -> None:
    """Parameters of the network that predicts, all of them and in the same order, are those of the one trained."""
    predicts, training = build(), build(training=True)
    inputs = {"data", *(name for name in training.list_arguments() if "label" in name or "target" in name)}
    weights = {name for name in training.list_arguments() if "bbox_weight" in name or "landmark_weight" in name}
    assert [n for n in training.list_arguments() if n not in inputs | weights] == predicts.list_arguments()[1:]
    assert training.list_auxiliary_states() == predicts.list_auxiliary_states()


@pytest.mark.parametrize("lr_mode", [0, 1])
def test_what_the_box_losses_are_divided_by(lr_mode: int) -> None:
    symbol = build(training=True, lr_mode=lr_mode, rpn_batch_size=128, landmark_lr_mult=2.0)
    scales = {node.name: float(node.attrs["grad_scale"]) for node in symbol.nodes if node.op == "MakeLoss"}
    assert scales["face_rpn_bbox_loss_stride8"] == (0.25 if lr_mode else 1 / 128)
    assert scales["face_rpn_landmark_loss_stride8"] == pytest.approx(0.2 if lr_mode else 0.8 / 128)
    assert ("broadcast_div0_output" in symbol.get_internals().list_outputs()) == bool(lr_mode)


def test_names_go_on_behind_those_of_the_backbone() -> None:
    resnet = get_symbol("fresnet", family="gender_age", num_layers=18, net_input=0).get_internals()["relu1_output"]
    names = [node.name for node in build("resnet", backbone=resnet).nodes]
    assert len(names) == len(set(names))
    assert "_plus9" in names


def test_the_last_layer_of_each_stride_is_built_upon() -> None:
    layers = {stride: layer.name for stride, layer in backbone_layers(smallest.small_backbone(), 9999).items()}
    assert [layers[stride] for stride in (4, 8, 16, 32)] == [
        "conv_4_relu",
        "conv_6_relu",
        "conv_12_relu",
        "conv_14_relu",
    ]
    assert backbone_layers(smallest.small_backbone(), 128)[32].name == "conv_13_dw_relu"  # conv_13 has 256 channels


def test_one_set_of_weights_for_all_strides() -> None:
    arguments = build(share_weight_bbox=True, share_weight_landmark=True).list_arguments()
    predictors = [name for name in arguments if name.startswith("face_") and name.endswith("_weight")]
    assert predictors == [f"face_rpn_{what}_share_weight" for what in ("cls_score", "bbox_pred", "landmark_pred")]


@pytest.mark.parametrize(("use_dcn", "plain", "modulated"), [(0, 0, 0), (1, 3, 0), (2, 0, 20)])
def test_where_deformable_convolutions_are(use_dcn: int, plain: int, modulated: int) -> None:
    operators = [node.op for node in build(use_dcn=use_dcn).nodes]
    assert operators.count("_contrib_DeformableConvolution") == plain
    assert operators.count("_contrib_ModulatedDeformableConvolution") == modulated


@pytest.mark.parametrize(("use_maxout", "strides"), [(0, []), (1, [8]), (2, [32, 16, 8])])
def test_where_the_largest_of_three_scores_counts(use_maxout: int, strides: list[int]) -> None:
    symbol = build(use_maxout=use_maxout, num_anchors=1)
    names = symbol.get_internals().list_outputs()
    assert [s for s in (32, 16, 8) if f"face_rpn_cls_score_stride{s}_anchor0_bg_output" in names] == strides
    assert output_shapes(symbol)["face_rpn_cls_prob_reshape_stride8_output"] == (2, 2, 16, 16)
    assert sum(node.op == "max" for node in symbol.nodes) == len(strides)


def test_more_values() -> None:
    shapes = output_shapes(build(use_blur=True, use_occlusion=True))
    assert shapes["face_rpn_bbox_pred_stride32_output"] == (2, 10, 4, 4)
    assert shapes["face_rpn_landmark_pred_stride32_output"] == (2, 30, 4, 4)
    assert len(output_shapes(build(face_landmark=False))) == 6


def test_2019s_spelling() -> None:
    assert build(HEAD_MODULE="RF", RPN_FEAT_STRIDE=[16, 8]).tojson() == (
        build(head_module="RF", rpn_feat_stride=[16, 8]).tojson()
    )


def test_without_crop_sizes_must_be_multiples_of_the_largest_stride() -> None:
    uncropped = build(use_crop=False)
    assert all(node.op != "Crop" for node in uncropped.nodes)
    build().infer_shape(data=(1, 3, 100, 100))
    with pytest.raises(ConfigError, match=r"cannot take images of 100x100: elemwise_add '_plus\d+'"):
        build(use_crop=False, image_shape=(100, 100, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_module": "FPN"}, "head_module='FPN' does not exist; choose one of SSH, RF"),
        ({"use_dcn": 3}, "use_dcn=3 does not exist"),
        ({"use_maxout": 3}, "use_maxout=3 does not exist"),
        ({"head_filter_num": 30}, "head_filter_num=30 must be a multiple of 4"),
        ({"rpn_feat_stride": (8, 16)}, r"rpn_feat_stride=\[8, 16\] must be some of \[128, 64, 32, 16, 8, 4\], in this"),
        ({"rpn_feat_stride": ()}, r"rpn_feat_stride=\[\] must be some of"),
        ({"rpn_enable_ohem": 1}, "rpn_enable_ohem=1 was never finished in 2019; set it to 2"),
        ({"rpn_fg_fraction": 1.5}, "rpn_fg_fraction=1.5 must be from 0 to 1"),
        ({"num_anchors": 0}, "num_anchors=0 must be above 0"),
        ({"backbone": "model/resnet-50"}, "backbone must be a Symbol, such as .* not 'model/resnet-50'"),
        ({"backbone": Variable("data")}, r"no map .* with stride 4, 8, 16, 32 \(it has strides none\)"),
        ({"DENSE_ANCHOR": True}, "mnet has no option DENSE_ANCHOR; there are backbone, max_feat_channel"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_it_needs_a_backbone() -> None:
    with pytest.raises(ConfigError, match="mnet needs the option backbone"):
        get_symbol("mnet", family="retinaface")
