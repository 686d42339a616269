"""Verification figures of the 2019 original: the ROC part from its embeddings, the whole from its packs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support import ORACLE

from mxface.eval.protocol import Embedder, load_pair_set, verify
from mxface.eval.roc import evaluate, normalise_rows
from mxface.runtime import load_predictor, make_embedder

BIN = ORACLE / "runs" / "bin"
CASES: dict[str, Any] = json.loads((BIN / "evaluate.json").read_text()) if BIN.is_dir() else {}


def evaluation_cases() -> list[str]:
    return [name for name in CASES if "_folds" in name]


def test_the_oracle_has_cases(oracle: Path) -> None:
    assert evaluation_cases(), f"{oracle}/runs/bin/evaluate.json holds no evaluation"
    assert list(BIN.glob("lfw60_*.bin")), f"{oracle}/runs/bin holds no pack"


def embeddings(view: str) -> np.ndarray:
    with np.load(BIN / "embeddings.npz") as arrays:
        plain = arrays["plain"].astype(np.float64)
        return normalise_rows(plain if view == "noflip" else plain + arrays["flip"])


def issame() -> np.ndarray:
    return np.array([same for _, _, same in json.loads((BIN / "pairs.json").read_text())], bool)


@pytest.mark.parametrize("case", evaluation_cases())
def test_evaluation_equals_the_original(case: str) -> None:
    view, folds, pca = case.split("_")
    expected = CASES[case]
    ours = evaluate(embeddings(view), issame(), int(folds.removeprefix("folds")), int(pca.removeprefix("pca")))
    np.testing.assert_array_equal(ours.accuracy, expected["acc_folds"])
    figures = {"acc": ours.mean, "std": ours.std, "val": ours.val, "val_std": ours.val_std, "far": ours.far}
    figures |= {"tpr_mean": ours.tpr.mean(), "fpr_mean": ours.fpr.mean()}
    assert figures == {name: pytest.approx(expected[name], abs=1e-15) for name in figures}
    np.testing.assert_allclose(ours.tpr[::10], expected["tpr"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(ours.fpr[::10], expected["fpr"], rtol=0, atol=1e-15)


def test_best_thresholds_and_distances_equal_the_original(oracle: Path) -> None:
    ours = evaluate(embeddings("flip"), issame())
    np.testing.assert_array_equal(ours.thresholds, CASES["flip_best_thresholds_10folds"])
    with np.load(oracle / "runs/bin/embeddings.npz") as arrays:
        np.testing.assert_allclose(ours.distances, arrays["dist_flip"], rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def embed(assets: Path) -> Embedder:
    predictor = load_predictor(assets / "mobilefacenet-y1/model", 0, outputs=["fc1_output"], device="cpu")
    return make_embedder(predictor)


@pytest.mark.parametrize("pack", sorted(BIN.glob("lfw60_*.bin")), ids=lambda path: path.stem)
def test_a_pack_verified_by_y1_equals_the_original(pack: Path, embed: Embedder) -> None:
    pairs = load_pair_set(pack, (112, 112))
    expected = CASES["test"]
    result = verify(embed, pairs, batch_size=expected["batch"], nrof_folds=expected["nfolds"])
    assert (result.acc2, result.std2) == pytest.approx((expected["acc2"], expected["std2"]), abs=1e-15)
    assert result.xnorm == pytest.approx(expected["xnorm"], abs=2e-5)
    assert result.acc1 == pytest.approx(CASES["noflip_folds10_pca0"]["acc"], abs=1e-15)
    np.testing.assert_allclose(result.embeddings, embeddings("flip"), atol=1e-5)
