"""The loss graphs: what they hold, and in real MXNet the numbers of the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import ORACLE

from mxface.errors import ConfigError
from mxface.graph import NameManager, Symbol, Variable, load_symbol, sym
from mxface.symbols import get_symbol
from mxface.symbols.heads import MARGINS, Margin, margin_softmax_loss, softmax_loss

Arrays = dict[str, NDArray[np.float32]]

SIZES = {"num_classes": 10, "emb_size": 16, "batch_size": 8}
SCALE = 64.0
GRAPHS: dict[str, Margin | bool] = {
    "softmax_bias": False,
    "softmax_nobias": True,
    "sphere15": MARGINS["sphereface"],
    "m09_04_015": Margin(0.9, 0.4, 0.15),
    **{name: MARGINS[name] for name in ("nsoftmax", "arcface", "cosface", "combined")},
}
"""Names of the oracle -> margin, or whether the plain softmax is without a bias."""

INDEX = ORACLE / "runs" / "heads" / "heads_index.json"
RUNS = [key for key in json.loads(INDEX.read_text()) if "/train/" in key] if INDEX.is_file() else []


def loss_graph(name: str, **options: Any) -> Symbol:
    kind = GRAPHS[name]
    if isinstance(kind, Margin):
        return margin_softmax_loss(Variable("embedding"), **SIZES, s=SCALE, margin=kind, **options)
    return softmax_loss(Variable("embedding"), **SIZES, no_bias=kind, **options)


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_and_shapes(name: str) -> None:
    symbol = loss_graph(name)
    assert symbol.list_outputs() == ["blockgrad0_output", "softmax_output", "blockgrad1_output"]
    arguments, outputs, states = symbol.infer_shape(embedding=(8, 16))
    bias = {"fc7_bias": (10,)} if name == "softmax_bias" else {}
    assert arguments == {"embedding": (8, 16), "fc7_weight": (10, 16), "softmax_label": (8,), **bias}
    assert outputs == [(8, 16), (8, 10), (1,)]
    assert states == {}


@pytest.mark.parametrize("name", GRAPHS)
def test_without_ce_loss(name: str) -> None:
    assert loss_graph(name, ce_loss=False).list_outputs() == ["blockgrad0_output", "softmax_output"]


def sub_centre_graph() -> Symbol:
    return margin_softmax_loss(Variable("embedding"), **SIZES, s=SCALE, margin=MARGINS["arcface"], sub_centres=3)


def sub_centre_problem() -> Arrays:
    rng = np.random.default_rng(0)
    embedding, weight = rng.standard_normal((8, 16)), rng.standard_normal((10, 3, 16))
    label = rng.integers(10, size=8)
    embedding += weight[label, 1]
    return {
        name: np.asarray(values, dtype=np.float32)
        for name, values in (("embedding", embedding), ("fc7_weight", weight), ("softmax_label", label))
    }


def test_sub_centres_in_shapes() -> None:
    arguments, outputs, _ = sub_centre_graph().infer_shape(embedding=(8, 16))
    assert arguments == {"embedding": (8, 16), "fc7_weight": (10, 3, 16), "softmax_label": (8,)}
    assert outputs == [(8, 16), (8, 10), (1,)]


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_real_mxnet_trains_sub_centres_as_the_head_does() -> None:
    import mxnet as mx
    import torch

    from mxface.losses import HeadConfig, SoftmaxHead

    problem = sub_centre_problem()
    symbol = mx.sym.load_json(sub_centre_graph().tojson())
    values = {name: mx.nd.array(array) for name, array in problem.items()}
    gradients = {name: mx.nd.zeros(values[name].shape) for name in ("embedding", "fc7_weight")}
    executor = symbol.bind(mx.cpu(), values, args_grad=gradients)
    cross_entropy = executor.forward(is_train=True)[2].asnumpy()
    executor.backward()
    head = SoftmaxHead(HeadConfig(num_classes=10, emb_size=16, s=SCALE, m2=0.5, sub_centres=3))
    head.load_state_dict({"fc7_weight": torch.from_numpy(problem["fc7_weight"])}, strict=False)
    label = torch.from_numpy(problem["softmax_label"]).long()
    output, gradient = head.step(torch.from_numpy(problem["embedding"]), label, lr=1.0, momentum=0.0, wd=0.0)
    np.testing.assert_allclose(output.loss.item(), cross_entropy.item(), rtol=1e-4)
    np.testing.assert_allclose(gradient.numpy(), gradients["embedding"].asnumpy(), rtol=1e-4, atol=1e-5)
    moved = -head.fc7_weight_momentum.numpy()
    np.testing.assert_allclose(moved, gradients["fc7_weight"].asnumpy(), rtol=1e-4, atol=1e-5)


def test_the_class_weights_are_noted_as_in_2019(oracle: Path) -> None:
    """oracle/runs/optim holds the end of a training graph: fc7 with its multipliers and initialiser."""
    stored = {node.name: node.attrs for node in load_symbol(oracle / "runs" / "optim" / "net-symbol.json").nodes}
    ours = softmax_loss(Variable("fc1"), num_classes=5, emb_size=6, batch_size=6, wd_mult=10.0)
    for node in ours.nodes:
        if node.name in ("fc7_weight", "fc7_bias"):
            assert node.attrs == stored[node.name]


def test_names_do_not_collide_with_those_of_the_network() -> None:
    embedding = get_symbol("fmobilefacenet", net_output="E")
    whole = margin_softmax_loss(embedding, **{**SIZES, "emb_size": 512}, s=SCALE, margin=MARGINS["combined"])
    names = [node.name for node in whole.nodes]
    assert len(names) == len(set(names))
    assert "_mulscalar1" in names


def test_in_one_manager_names_are_those_of_a_fresh_process() -> None:
    with NameManager():
        sym.Flatten(Variable("x") * 2)
        symbol = loss_graph("nsoftmax")
    assert "_mulscalar1" in [node.name for node in symbol.nodes]


def test_a_margin_of_nothing_is_the_normalised_softmax() -> None:
    ops = [node.op for node in loss_graph("nsoftmax").nodes]
    assert "arccos" not in ops
    assert "one_hot" not in ops
    assert "arccos" not in [node.op for node in loss_graph("cosface").nodes]


def test_margins_below_zero_are_ignored_behind_an_arccos_as_in_2019() -> None:
    def graph(margin: Margin) -> list[str]:
        symbol = margin_softmax_loss(Variable("embedding"), **SIZES, s=SCALE, margin=margin)
        return [node.op for node in symbol.nodes]

    assert graph(Margin(1.5, -0.1, -0.1)) == graph(Margin(1.5, 0.0, 0.0))


@pytest.mark.parametrize(("s", "m1"), [(0.0, 1.0), (-1.0, 1.0), (64.0, -1.0)])
def test_what_cannot_be(s: float, m1: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and loss_m1"):
        margin_softmax_loss(Variable("embedding"), **SIZES, s=s, margin=Margin(m1, 0.5, 0.0))


@pytest.fixture(scope="module")
def stored(oracle: Path) -> Arrays:
    with np.load(oracle / "runs" / "heads" / "heads.npz") as file:
        return dict(file)


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("run", RUNS)
def test_real_mxnet_gives_the_numbers_of_the_original(run: str, stored: Arrays) -> None:
    """Logits, probabilities, ce and gradients, with NaN and infinity where the original has them."""
    import mxnet as mx

    case, _, name, _ = run.split("/")
    graph = loss_graph(name)
    symbol = mx.sym.load_json(graph.tojson())
    sources = {"embedding": "embedding", "fc7_weight": "weight", "fc7_bias": "bias", "softmax_label": "label"}
    values = {argument: mx.nd.array(stored[f"{case}/{sources[argument]}"]) for argument in symbol.list_arguments()}
    gradients = {argument: mx.nd.zeros(v.shape) for argument, v in values.items() if argument != "softmax_label"}
    executor = symbol.bind(mx.cpu(), values, args_grad=gradients)
    embedding, probability, cross_entropy = (output.asnumpy() for output in executor.forward(is_train=True))
    executor.backward()
    assert np.array_equal(embedding, stored[f"{case}/embedding"])
    np.testing.assert_allclose(probability, stored[f"{run}prob"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(cross_entropy, stored[f"{run}ce"], rtol=1e-6)
    for argument, gradient in gradients.items():
        expected = stored[f"{run}grad_{sources[argument]}"]
        np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    softmax = next(node for node in graph.nodes if node.op == "SoftmaxOutput")
    logits = mx.sym.load_json(Symbol([softmax.inputs[0]]).tojson())
    given = {argument: values[argument] for argument in logits.list_arguments()}
    computed = logits.bind(mx.cpu(), given).forward()[0].asnumpy()
    np.testing.assert_allclose(computed, stored[f"{run}logits"], rtol=1e-6, atol=1e-5)


@pytest.mark.mxnet
def test_the_oracle_has_runs(oracle: Path) -> None:
    assert {run.split("/")[2] for run in RUNS} == set(GRAPHS)
