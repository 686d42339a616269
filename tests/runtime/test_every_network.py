"""The default engine (folded, packed, channels last) on every network, against the plain lowered graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.runtime.networks import random_checkpoint
from tests.symbols.smallest import NETWORKS, build, parameters

from mxface.export.parity import compare, parity_tolerance, random_images
from mxface.graph import Symbol
from mxface.lower import lower
from mxface.runtime import build_predictor

DEFORMABLE = [("alignment", "heatmap", {"net_dcn": 1}), ("retinaface", "mnet", {"use_dcn": 2})]


def assert_same(symbol: Symbol, side: int) -> None:
    checkpoint = random_checkpoint(symbol, (3, side, side))
    images = random_images(2, (3, side, side))
    with torch.inference_mode():
        plain = lower(symbol, {**checkpoint.arg_params, **checkpoint.aux_params}).eval()(
            torch.from_numpy(images.astype(np.float32))
        )
    expected = [array.numpy() for array in (plain if isinstance(plain, tuple) else (plain,))]
    found = build_predictor(checkpoint, device="cpu").predict(images)
    for name, ours, theirs in zip(symbol.list_outputs(), found, expected, strict=True):
        assert compare(name, [theirs], [ours]).relative < parity_tolerance(symbol), name


@pytest.mark.parametrize(("family", "name"), parameters(NETWORKS))
def test_the_engine_computes_the_network(family: str, name: str) -> None:
    assert_same(build(name, family=family), 128 if family in ("alignment", "retinaface") else 112)


@pytest.mark.parametrize(("family", "name", "options"), DEFORMABLE)
def test_the_engine_computes_deformable_networks(family: str, name: str, options: dict[str, int]) -> None:
    assert_same(build(name, family=family, **options), 128)
