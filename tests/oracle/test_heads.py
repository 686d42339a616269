"""The softmax head, dense and fused, against logits, losses and gradients of 2019's graphs on real MXNet.

Where the reference is NaN (the two rows with cos = +-1 in `edge`, and the centres they touch) or inf (a loss beyond
float32's softmax) ours must be finite; everything else must be equal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.support import ORACLE

from mxface.losses import HeadConfig, SoftmaxHead
from mxface.losses.margin import is_cosine_shift
from mxface.symbols.heads import MARGINS

HEADS = ORACLE / "runs" / "heads"
INDEX: dict[str, Any] = json.loads((HEADS / "heads_index.json").read_text()) if HEADS.is_dir() else {}
TOLERANCE = 1e-5  # of the largest value of the array

LOSSES: dict[str, dict[str, Any]] = {  # the settings behind the index's names (oracle/runs/README)
    "softmax_bias": {"kind": "softmax"},
    "softmax_nobias": {"kind": "softmax", "no_bias": True},
    "nsoftmax": MARGINS["nsoftmax"]._asdict(),
    "sphere15": MARGINS["sphereface"]._asdict(),
    "cosface": MARGINS["cosface"]._asdict(),
    "arcface": MARGINS["arcface"]._asdict(),
    "combined": MARGINS["combined"]._asdict(),
    "m09_04_015": {"m1": 0.9, "m2": 0.4, "m3": 0.15},
}


def head_cases() -> list[str]:
    """`set/graph/loss/` of every head of the index that ran (train_parall's cosface crashed in 2019)."""
    return [key for key, facts in INDEX.items() if key.split("/")[1] in ("train", "parall") and "error" not in facts]


def test_the_oracle_has_cases(oracle: object) -> None:
    assert {key.split("/")[1] for key in head_cases()} == {"train", "parall"}


class Case:
    """One stored case and a head that holds its weights. train_parall's heads have no bias and sum over the batch."""

    def __init__(self, key: str) -> None:
        name, graph, loss, _ = key.split("/")
        with np.load(HEADS / "heads.npz") as arrays:
            self.inputs = {key.split("/")[1]: arrays[key] for key in arrays.files if key.split("/")[:-1] == [name]}
            self.stored = {k.removeprefix(key): arrays[k] for k in arrays.files if k.startswith(key)}
        self.embedding = torch.from_numpy(self.inputs["embedding"])
        self.label = torch.from_numpy(self.inputs["label"]).long()
        self.gradient_factor = len(self.label) if graph == "parall" else 1
        options = {**LOSSES[loss], **({"no_bias": True} if graph == "parall" else {})}
        classes, emb_size = self.inputs["weight"].shape
        self.head = SoftmaxHead(HeadConfig(num_classes=classes, emb_size=emb_size, **options))
        with torch.no_grad():
            self.head.fc7_weight.copy_(torch.from_numpy(self.inputs["weight"]))
            if self.head.fc7_bias is not None:
                self.head.fc7_bias.copy_(torch.from_numpy(self.inputs["bias"]))

    @cached_property
    def clamped(self) -> NDArray[np.bool_]:
        """Rows whose target cosine is so near an end that ours is clamped: their logit may differ by `clamp_error`."""
        centre = self.inputs["weight"][self.inputs["label"].astype(int)]
        cosine = torch.cosine_similarity(torch.from_numpy(self.inputs["embedding"]), torch.from_numpy(centre))
        bends = self.head.config.is_margin and not is_cosine_shift(self.head.config.m1, self.head.config.m2)
        return (cosine.abs() > 1 - 1e-6).numpy() & bends

    def clamp_error(self) -> float:
        return self.head.config.s * self.head.config.m1 * math.acos(1 - 2**-23)

    def close(self, ours: torch.Tensor, name: str, factor: float = 1, rows: Any = slice(None)) -> None:
        """Ours is finite, and equal to the stored array where that is finite."""
        theirs = self.stored[name][rows]
        values = ours.detach().numpy()[rows] * factor
        finite = np.isfinite(theirs)
        assert np.isfinite(values).all(), name
        scale = max(1.0, np.abs(theirs[finite]).max())
        np.testing.assert_allclose(values[finite], theirs[finite], rtol=0, atol=TOLERANCE * scale, err_msg=name)

    def check_loss(self, loss: float) -> None:
        if "ce" not in self.stored:
            return
        logits = torch.from_numpy(self.stored["logits"]).double()
        expected = torch.nn.functional.cross_entropy(logits, self.label).item()  # the true value, where ce is inf too
        assert self.stored["ce"][0] in (pytest.approx(expected, rel=1e-5), math.inf)
        tolerance = self.clamp_error() if self.clamped.any() else TOLERANCE * expected
        assert loss == pytest.approx(expected, abs=tolerance)


def by_autograd(case: Case) -> None:
    embedding = case.embedding.requires_grad_()
    logits = case.head.logits(embedding, case.label)
    output = case.head(embedding, case.label)
    output.loss.backward()
    np.testing.assert_allclose(
        logits.detach().numpy()[case.clamped], case.stored["logits"][case.clamped], rtol=0, atol=case.clamp_error()
    )
    case.close(logits, "logits", rows=~case.clamped)
    case.close(logits.softmax(dim=1), "prob")
    case.check_loss(output.loss.item())
    case.close(embedding.grad, "grad_embedding", case.gradient_factor)
    case.close(case.head.fc7_weight.grad, "grad_weight", case.gradient_factor)
    if case.head.fc7_bias is not None:
        case.close(case.head.fc7_bias.grad, "grad_bias")


def by_the_fused_step(case: Case) -> None:
    predicted = torch.from_numpy(case.stored["prob"]).argmax(dim=1)
    output, gradient = case.head.step(case.embedding, case.label, lr=1, momentum=0, wd=0)
    assert torch.equal(output.correct, predicted == case.label)
    case.check_loss(output.loss.item())
    case.close(gradient, "grad_embedding", case.gradient_factor)
    case.close(case.head.fc7_weight_momentum, "grad_weight", -case.gradient_factor)
    if case.head.fc7_bias_momentum is not None:
        case.close(case.head.fc7_bias_momentum, "grad_bias", -1)


@pytest.mark.parametrize("computed", [by_autograd, by_the_fused_step])
@pytest.mark.parametrize("key", head_cases())
def test_head_equals_2019(key: str, computed: Callable[[Case], None]) -> None:
    computed(Case(key))
