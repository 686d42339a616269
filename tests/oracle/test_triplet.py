"""Triplet losses, their gradients and the choice of triplets, against 2019's on real MXNet."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.support import ORACLE

from mxface.graph import Symbol, Variable
from mxface.losses.triplet import TripletHead, TripletKind
from mxface.losses.triplet_mining import NumpyDraws, select_triplets, unit_rows
from mxface.lower import lower
from mxface.symbols.heads import angular_triplet_loss, triplet_loss

HEADS = ORACLE / "runs" / "heads"
INDEX: dict[str, Any] = json.loads((HEADS / "heads_index.json").read_text()) if HEADS.is_dir() else {}
LOSSES = [key for key in INDEX if key.startswith("triplet/")]
CHOICES = [key for key in INDEX if key.startswith("select/")]


@pytest.fixture(scope="module")
def stored(oracle: object) -> dict[str, NDArray[Any]]:
    with np.load(HEADS / "heads.npz") as file:
        return dict(file)


def test_the_oracle_has_cases(oracle: object) -> None:
    assert len(LOSSES) == 4
    assert len(CHOICES) == 3


@pytest.mark.parametrize("key", LOSSES)
def test_loss_and_gradient_are_those_of_2019(key: str, stored: dict[str, NDArray[Any]]) -> None:
    _, case, kind = key.split("/")
    rows = torch.from_numpy(stored[f"triplet/{case}/embedding"])
    head = TripletHead(alpha=INDEX[key]["alpha"], kind=kind)  # type: ignore[arg-type]
    output, gradient = head.step(rows, torch.zeros(len(rows)))
    assert output.loss.item() == pytest.approx(stored[f"{key}/loss"].item(), rel=1e-5, abs=1e-7)
    np.testing.assert_allclose(gradient.numpy(), stored[f"{key}/grad_embedding"], rtol=1e-4, atol=1e-6)


def graph_of(kind: TripletKind, rows: int, alpha: float) -> Symbol:
    make = triplet_loss if kind == "triplet" else angular_triplet_loss
    return make(Variable("embedding"), batch_size=rows, alpha=alpha)


@pytest.mark.parametrize("key", LOSSES)
def test_the_graph_lowered_gives_the_numbers_of_2019(key: str, stored: dict[str, NDArray[Any]]) -> None:
    _, case, kind = key.split("/")
    rows = torch.from_numpy(stored[f"triplet/{case}/embedding"]).requires_grad_()
    label = torch.arange(len(rows), dtype=torch.float32)
    graph = graph_of(kind, len(rows), INDEX[key]["alpha"])  # type: ignore[arg-type]
    network = lower(graph, {}, inputs=("embedding", "softmax_label"))
    embedding, label_out, loss = network(rows, label)
    assert torch.equal(embedding, rows)
    assert torch.equal(label_out, label)
    np.testing.assert_allclose(loss.detach().numpy(), stored[f"{key}/loss"], rtol=1e-5, atol=1e-7)
    loss.sum().backward()
    assert rows.grad is not None
    np.testing.assert_allclose(rows.grad.numpy(), stored[f"{key}/grad_embedding"], rtol=1e-4, atol=1e-6)


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("key", LOSSES)
def test_the_graph_in_real_mxnet_gives_the_numbers_of_2019(key: str, stored: dict[str, NDArray[Any]]) -> None:
    import mxnet as mx

    _, case, kind = key.split("/")
    rows = stored[f"triplet/{case}/embedding"]
    graph = graph_of(kind, len(rows), INDEX[key]["alpha"])  # type: ignore[arg-type]
    symbol = mx.sym.load_json(graph.tojson())
    gradient = mx.nd.zeros(rows.shape)
    values = {"embedding": mx.nd.array(rows), "softmax_label": mx.nd.arange(len(rows))}
    executor = symbol.bind(mx.cpu(), values, args_grad={"embedding": gradient})
    embedding, label, loss = (output.asnumpy() for output in executor.forward(is_train=True))
    executor.backward()
    assert np.array_equal(embedding, rows)
    assert np.array_equal(label, np.arange(len(rows)))
    np.testing.assert_allclose(loss, stored[f"{key}/loss"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient.asnumpy(), stored[f"{key}/grad_embedding"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", CHOICES)
@pytest.mark.parametrize("block_rows", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_triplets_chosen_are_those_of_2019(
    key: str, block_rows: int, dtype: torch.dtype, stored: dict[str, NDArray[Any]]
) -> None:
    facts = INDEX[key]
    triplets = select_triplets(
        unit_rows(torch.from_numpy(stored[f"{key}/embedding"]).to(dtype)),
        stored[f"{key}/label"],
        alpha=facts["alpha"],
        max_ap=facts["max_ap"],
        draws=NumpyDraws(np.random.RandomState(facts["np_seed"])),
        block_rows=block_rows,
    )
    assert np.array_equal(triplets, stored[f"{key}/triplets"])
