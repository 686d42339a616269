"""model_slim on every network: trained with a loss on top, it comes back as it was built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.symbols.smallest import NETWORKS, build, parameters

from mxface.deploy.model_slim import slim
from mxface.graph import Checkpoint, Symbol
from mxface.symbols import heads

EMBEDDINGS = [(family, name) for family, name in NETWORKS if family in ("recognition", "src", "gender_age")]

CUTS = {
    ("alignment", "heatmap"): ["heatmap_output"],
    ("retinaface", "mnet"): ["face_rpn_bbox_pred_stride8_output", "face_rpn_landmark_pred_stride8_output"],
    ("retinaface", "resnet"): ["face_rpn_bbox_pred_stride8_output", "face_rpn_landmark_pred_stride8_output"],
}
"""Outputs that the network has in training, too."""


def parameters_of(symbol: Symbol) -> set[str]:
    return {name for name in symbol.list_arguments() if name != "data" and "label" not in name}


def checkpoint_of(symbol: Symbol) -> Checkpoint:
    args = {name: np.zeros(1, np.float32) for name in parameters_of(symbol)}
    return Checkpoint(symbol, args, {name: np.zeros(1, np.float32) for name in symbol.list_auxiliary_states()})


def assert_is(slimmed: Checkpoint, symbol: Symbol) -> None:
    assert slimmed.symbol.tojson() == symbol.tojson()
    assert slimmed.arg_params.keys() == parameters_of(symbol)
    assert slimmed.aux_params.keys() == set(symbol.list_auxiliary_states())


@pytest.mark.parametrize(("family", "name"), parameters(EMBEDDINGS))
def test_an_embedding_loses_its_classifier(family: str, name: str) -> None:
    symbol = build(name, family=family)
    options: dict[str, Any] = {"num_classes": 10, "emb_size": 512, "batch_size": 2}
    for loss in (
        heads.softmax_loss(symbol, **options),
        heads.margin_softmax_loss(symbol, **options, s=64.0, margin=heads.MARGINS["arcface"]),
    ):
        assert "fc7_weight" in parameters_of(loss)
        assert_is(slim(checkpoint_of(loss)), symbol)


def test_every_other_network_has_outputs_to_cut_at() -> None:
    assert {*EMBEDDINGS, *CUTS} == set(NETWORKS)


@pytest.mark.parametrize(("family", "name"), CUTS)
def test_other_networks_are_cut_at_named_outputs(family: str, name: str) -> None:
    outputs = CUTS[family, name]
    trained, plain = build(name, family=family, training=True), build(name, family=family)
    slimmed = slim(checkpoint_of(trained), outputs)
    assert_is(slimmed, plain.select_outputs(outputs))
    assert parameters_of(trained) - slimmed.arg_params.keys() or family == "alignment"
