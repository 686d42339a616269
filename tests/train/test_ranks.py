"""Ranks that train together: equal to one process to the last digits, on a head alone and under whole networks.

Legend: N ranks, B images of a batch over all ranks. The proofs are in float64.
"""

from __future__ import annotations

import functools
import signal
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests.support.ranks import run_ranks
from tests.train.tiny import EMB_SIZE, SIDE, configure, tiny_embedding
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from mxface.errors import ConfigError
from mxface.graph import Symbol
from mxface.loaders import Batch
from mxface.losses import HeadConfig, HeadOutput, SoftmaxHead
from mxface.losses.head_config import accept
from mxface.losses.softmax_head import SHARDED
from mxface.ranks import Ranks
from mxface.symbols import get_symbol
from mxface.train.guard import NotFiniteError, StopSignals
from mxface.train.initializer import init_params
from mxface.train.learner import Learner
from mxface.train.process_group import require_agreement

SINGLE = Ranks.single()
NUM_CLASSES, BATCH_SIZE, STEPS = 7, 12, 3  # 7 classes: shards of 4 and 3; of 3, 3 and 1
SPHERENET = "spherenet"  # without BatchNorm
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


def build_graph(network: str) -> Symbol:
    if network == SPHERENET:
        return get_symbol("spherenet", family="src", num_layers=20, emb_size=EMB_SIZE, image_shape=(16, 16, 3))
    return tiny_embedding(dropout=0.4 if network == "dropout" else 0.0)


def build_learner(network: str, ranks: Ranks, device: str = "cpu") -> Learner:
    """float64, the same start everywhere; weights large enough that every layer has a gradient worth comparing."""
    embedding, side = build_graph(network), 16 if network == SPHERENET else SIDE
    arguments, _, states = embedding.infer_shape(data=(1, 3, side, side))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, "fresnet", np.random.default_rng(0))
    if network == SPHERENET:
        params |= {name: 10 * array for name, array in params.items() if name.endswith("_weight")}
    head = SoftmaxHead(
        HeadConfig(num_classes=NUM_CLASSES, emb_size=EMB_SIZE, s=16.0, m1=1.0, m2=0.2, m3=0.1),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
        ranks=ranks,
    )
    config = configure(batch_size=BATCH_SIZE, wd=0.01)
    on = torch.device(device)
    return Learner(embedding, params, head, config, device=on, ranks=ranks, param_dtype=torch.float64)


def make_batch(network: str, number: int, ranks: Ranks) -> Batch:
    """This rank's rows of batch `number`."""
    rng, side = np.random.default_rng(number), 16 if network == SPHERENET else SIDE
    data = rng.integers(0, 256, (BATCH_SIZE, side, side, 3), dtype=np.uint8)
    label = rng.integers(0, NUM_CLASSES, BATCH_SIZE)
    share = BATCH_SIZE // ranks.count
    own = slice(ranks.rank * share, (ranks.rank + 1) * share)
    return Batch(data[own], label[own], np.arange(BATCH_SIZE)[own])


def refuse(_output: HeadOutput) -> None:
    raise NotFiniteError("a message of the test")


def results(learner: Learner, losses: list[torch.Tensor], network: str) -> dict[str, Any]:
    learner.average_statistics()
    images = make_batch(network, 99, SINGLE).data
    return {
        "losses": torch.stack(losses).cpu(),
        "tensors": {name: tensor.cpu().clone() for name, tensor in learner.tensors().items()},
        "embedded": [learner.embed(images[:count]) for count in (BATCH_SIZE, 5, 1)],
        "exported": learner.export()[0]["fc7_weight"],
    }


def train_a_little(network: str, ranks: Ranks, device: str = "cpu") -> dict[str, Any]:
    """Three steps; before them a batch that is refused when its loss is known."""
    learner = build_learner(network, ranks, device)
    with pytest.raises(NotFiniteError):
        learner.train_batch(make_batch(network, 0, ranks), step=1, lr=0.1, check=refuse)
    losses = []
    for number in range(STEPS):
        trained = learner.train_batch(make_batch(network, number, ranks), step=number + 1, lr=0.1, check=accept)
        losses.append(trained.output.loss)
    return results(learner, losses, network)


def require_equal(result: dict[str, Any], expected: dict[str, Any], rank: int, count: int, **tolerance: float) -> None:
    """What a rank has is what one process has, or its rows of it."""
    torch.testing.assert_close(result["losses"], expected["losses"], **tolerance)
    size = -(-NUM_CLASSES // count)
    for name, tensor in expected["tensors"].items():
        is_sharded = name.removeprefix("head/") in SHARDED
        own = tensor[rank * size : (rank + 1) * size] if is_sharded else tensor
        assert torch.allclose(result["tensors"][name], own, **tolerance), name
    for ours, theirs in zip(result["embedded"], expected["embedded"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)  # handed out in float32


def overlap_events(ranks: Ranks) -> list[str]:
    """What happens in the backward of a batch, in its order: buckets sent, and the last gradient made.

    Of the third batch: DDP sorts gradients into buckets by the order in which the first two made them.
    """
    learner, events = build_learner(SPHERENET, ranks), []

    def send(_state, bucket):  # type: ignore[no-untyped-def]  # torch reads annotations, and wants no strings
        events.append("sent")
        return allreduce_hook(dist.group.WORLD, bucket)

    learner._trained.register_comm_hook(None, send)
    learner.backbone.conv1_1_weight.register_hook(lambda _grad: events.append("first layer"))
    for step in (1, 2, 3):
        events.clear()
        learner.train_batch(make_batch(SPHERENET, step, ranks), step=step, lr=0.1, check=accept)
    return events


@functools.cache
def train_alone() -> dict[str, Any]:
    return train_a_little(SPHERENET, SINGLE)


def train_ghost_batches(network: str, count: int) -> dict[str, Any]:
    """One process that gives each of `count` parts of a batch statistics of its own, and their mean at the end."""
    learner = build_learner(network, SINGLE)
    states = list(learner.backbone.buffers())
    of_parts = [[state.clone() for state in states] for _ in range(count)]
    losses = []
    for number in range(STEPS):
        parts, labels = [], []
        for rank in range(count):
            images, label = learner.fetch(make_batch(network, number, Ranks(rank, count)))
            torch._foreach_copy_(states, of_parts[rank])
            parts.append(learner.forward(images))
            labels.append(label)
            torch._foreach_copy_(of_parts[rank], states)
        losses.append(learner.step(torch.cat(parts), torch.cat(labels), lr=0.1, check=accept).loss)
    for state, *values in zip(states, *of_parts, strict=True):
        state.copy_(torch.stack(values).mean(dim=0))
    return results(learner, losses, network)


def on_one_gpu(ranks: Ranks) -> dict[str, Any]:
    # torch's autograd thread may meet cuBLAS first; it sets the context itself, and says so
    warnings.filterwarnings("ignore", message="Attempting to run cuBLAS")
    return train_a_little(SPHERENET, ranks, "cuda:0")


@pytest.mark.gpu
def test_ranks_whose_tensors_are_on_a_gpu_equal_one_process() -> None:
    """Two ranks share the GPU and talk over gloo: NCCL wants a GPU for each."""
    expected = train_alone()
    for rank, result in enumerate(run_ranks(on_one_gpu, 2)):
        require_equal(result, expected, rank, 2, rtol=1e-9, atol=1e-9)


def equal_to_one(ranks: Ranks) -> dict[str, Any]:
    return {network: train_a_little(network, ranks) for network in (SPHERENET, "batchnorm")}


def on_a_rank(ranks: Ranks) -> dict[str, Any]:
    """All that is to be seen of one spawn, on one rank."""
    shown = equal_to_one(ranks)
    shown["events"] = overlap_events(ranks)

    learner = build_learner("dropout", ranks)
    shown["seeds"] = []
    for step in (1, 2):
        learner.train_batch(make_batch("dropout", 0, ranks), step=step, lr=0.1, check=accept)
        shown["seeds"].append(torch.initial_seed())

    is_last = ranks.rank == ranks.count - 1
    require_agreement(ranks, settings="the same", data_set=3)
    with pytest.raises(ConfigError) as caught:
        require_agreement(ranks, settings="the same", place_in_the_training=int(is_last))
    shown["disagreement"] = str(caught.value)

    stop = StopSignals(ranks)
    stop.begin_agreement()
    stop.agree()
    assert stop.received is None
    with stop:
        if is_last:
            signal.raise_signal(signal.SIGTERM)
        stop.begin_agreement()
        assert stop.received is None  # also on the rank that was asked, until all know
        stop.agree()
    shown["received"] = stop.received
    return shown


@pytest.fixture(scope="module")
def shown() -> list[dict[str, Any]]:
    """By three ranks; two of them show only that they are equal to one."""
    return run_ranks(on_a_rank, 3)


@pytest.fixture(scope="module")
def shown_by_two() -> list[dict[str, Any]]:
    return run_ranks(equal_to_one, 2)


@pytest.mark.parametrize("network", [SPHERENET, "batchnorm"])
@pytest.mark.parametrize("ranks", ["shown_by_two", "shown"])
def test_ranks_equal_one_process(request: pytest.FixtureRequest, ranks: str, network: str) -> None:
    """One of ghost batches, where BatchNorm sees each rank's images alone; saved statistics are their mean."""
    shown = request.getfixturevalue(ranks)
    count = len(shown)
    expected = train_ghost_batches(network, count) if network == "batchnorm" else train_alone()
    for rank in range(count):
        require_equal(shown[rank][network], expected, rank, count, **TOLERANCE)
    np.testing.assert_array_equal(shown[0][network]["exported"].shape, (NUM_CLASSES, EMB_SIZE))
    np.testing.assert_allclose(shown[0][network]["exported"], expected["exported"], **TOLERANCE)


def test_the_backbone_is_bit_for_bit_the_same_on_all_ranks(shown: list[dict[str, Any]]) -> None:
    for network in (SPHERENET, "batchnorm"):
        first, *others = (result[network]["tensors"] for result in shown)
        names = [name for name in first if name.startswith(("backbone/", "momentum/"))]
        assert names
        assert all(torch.equal(first[name], other[name]) for name in names for other in others)


def test_the_proof_would_notice_gradients_that_are_not_averaged() -> None:
    """A rank's own images alone lead elsewhere, by far more than the tolerance."""
    whole = train_alone()["tensors"]["backbone/fc1_weight"]
    learner = build_learner(SPHERENET, SINGLE)
    for number in range(STEPS):
        learner.train_batch(make_batch(SPHERENET, number, Ranks(0, 2)), step=number + 1, lr=0.1, check=accept)
    assert (learner.tensors()["backbone/fc1_weight"] - whole).abs().max() > 1e-4


def test_gradients_travel_while_the_backward_goes_on(shown: list[dict[str, Any]]) -> None:
    for result in shown:
        before = result["events"][: result["events"].index("first layer")]
        assert before.count("sent") >= result["events"].count("sent") - 1 >= 2


def test_every_rank_and_step_has_its_own_dropout(shown: list[dict[str, Any]]) -> None:
    seeds = [seed for result in shown for seed in result["seeds"]]
    assert len(set(seeds)) == 2 * len(shown)


def test_ranks_that_start_from_something_else_are_named(shown: list[dict[str, Any]]) -> None:
    last = len(shown) - 1
    assert {result["disagreement"].split(":")[0] for result in shown} == {
        f"rank {last} differs from rank 0 in its place in the training"
    }


def test_a_signal_to_one_rank_stops_all(shown: list[dict[str, Any]]) -> None:
    assert [result["received"] for result in shown] == [signal.SIGTERM] * len(shown)
