"""Twenty training steps held against real MXNet, each started from MXNet's own parameters, momentum and statistics.

Free-running curves part by rounding after a few steps; one step from the same state must not. The measure is what MXNet
differs from itself when its other kernels (MXNET_MKLDNN_ENABLED=0) take the same step. A pixel at the kink of a PReLU
may fall on either side in any of the three, which is most of the difference and strikes one step and not the next: so
the measure is taken over the twenty steps together, and every array of every step is held to two percent.

MXNet 1.9.1 without MKLDNN (and with it in small graphs) multiplies the gradient of a PReLU slope by the slope, a
defect; so slopes are compared in that form: the factor is put into ours, and into MXNet's where it is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tests.mxnet.engines import put_factor_into_slopes
from tests.mxnet.module import Arrays, MxnetProcess, MxnetTrainer, State, Step
from tests.train.tiny import configure

from mxface.graph import Symbol
from mxface.loaders import Batch
from mxface.losses import HeadConfig, SoftmaxHead
from mxface.symbols import get_symbol
from mxface.symbols.heads import MARGINS, margin_softmax_loss
from mxface.train.initializer import init_params
from mxface.train.learner import Learner

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

STEPS, BATCH_SIZE, SIDE, NUM_CLASSES, EMB_SIZE = 20, 4, 112, 20, 128
LR, MOMENTUM, WD = 0.05, 0.9, 0.0005
LOSS_TOLERANCE = 1e-5
TIMES_MXNET_ITSELF = 3.0
ARRAY_TOLERANCE = 0.02
STATISTICS_TOLERANCE = 1e-5
NOISE = 1e-5  # of updates that are zero but for rounding, as of a bias before a BatchNorm

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "y1": ("fmobilefacenet", {"net_output": "GDC"}),
    "r18": ("fresnet", {"num_layers": 18, "net_output": "FC", "net_input": 0}),
}


class Difference(NamedTuple):
    """Of one array's update: its length, and how far ours and MXNet's other kernels are from it."""

    length: float
    ours: float
    other: float


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_twenty_steps_started_by_mxnet(network: str, tmp_path: Path) -> None:
    net_name, options = NETWORKS[network]
    embedding = get_symbol(net_name, emb_size=EMB_SIZE, **options)
    learner = build_learner(embedding, net_name)
    graph = margin_softmax_loss(
        embedding, num_classes=NUM_CLASSES, emb_size=EMB_SIZE, batch_size=BATCH_SIZE, s=64.0, margin=MARGINS["arcface"]
    ).tojson()
    rates = {"lr": LR, "momentum": MOMENTUM, "wd": WD}
    shape = (BATCH_SIZE, 3, SIDE, SIDE)
    teacher = MxnetTrainer(graph, shape, **rates)
    args, aux = learner.export()
    state = State(args, {name: np.zeros_like(array) for name, array in args.items()}, aux)
    slopes = put_factor_into_slopes(learner)
    assert slopes
    totals: dict[str, list[Difference]] = {"slopes": [], "others": []}
    rng = np.random.default_rng(0)
    without_mkldnn = {"MXNET_MKLDNN_ENABLED": "0", "MXNET_STORAGE_FALLBACK_LOG_VERBOSE": "0"}
    with MxnetProcess(tmp_path, graph, shape, without_mkldnn, **rates) as other_process:
        for number in range(STEPS):
            data = rng.integers(0, 256, (BATCH_SIZE, SIDE, SIDE, 3), np.uint8)
            label = rng.integers(0, NUM_CLASSES, BATCH_SIZE)
            fed = (data.transpose(0, 3, 1, 2).astype(np.float32), label.astype(np.float32))
            taught = teacher.step(state, *fed)
            other = other_process.step(state, *fed)
            ours = step_from(learner, state, Batch(data, label, np.arange(BATCH_SIZE)))
            differences = compare(number, state, slopes, ours, taught, other)
            for group, names in (("slopes", slopes), ("others", differences.keys() - slopes)):
                totals[group].append(total([differences[name] for name in names]))
            state = taught.state
    for group, steps in totals.items():
        ours_off, mxnet_off = (relative_over_steps(steps, field) for field in ("ours", "other"))
        assert ours_off <= TIMES_MXNET_ITSELF * mxnet_off, (group, ours_off, mxnet_off)


def build_learner(embedding: Symbol, net_name: str) -> Learner:
    arguments, _, states = embedding.infer_shape(data=(1, 3, SIDE, SIDE))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, net_name, np.random.default_rng(0))
    head = SoftmaxHead(
        HeadConfig(num_classes=NUM_CLASSES, emb_size=EMB_SIZE, m2=MARGINS["arcface"].m2),
        generator=torch.Generator().manual_seed(0),
    )
    config = configure(lr=LR, mom=MOMENTUM, wd=WD, batch_size=BATCH_SIZE)
    return Learner(embedding, params, head, config, device=torch.device("cpu"))


def step_from(learner: Learner, state: State, batch: Batch) -> Step:
    """Our step from MXNet's state."""
    tensors = learner.tensors()
    for part, prefix in (("args", "backbone"), ("aux", "backbone"), ("momentum", "momentum")):
        for name, array in getattr(state, part).items():
            if name.startswith("fc7"):
                key = f"head/{name}_momentum" if part == "momentum" else f"head/{name}"
            else:
                key = f"{prefix}/{name}"
            tensors[key].data.copy_(torch.from_numpy(array))
    images, label = learner.fetch(batch)
    output = learner.step(learner.forward(images), label, lr=LR, check=lambda output: None)
    args, aux = learner.export()
    momentum = {name: tensor.numpy() for name, tensor in learner.optimizer.state_dict().items()}
    momentum["fc7_weight"] = learner.head.fc7_weight_momentum.numpy()
    return Step(float(output.loss), State(args, momentum, aux))


def compare(
    number: int, state: State, slopes: frozenset[str], ours: Step, taught: Step, other: Step
) -> dict[str, Difference]:
    """Hold one step's loss, updates and moving statistics to their bounds; the differences of the updates."""
    assert abs(ours.loss - taught.loss) <= LOSS_TOLERANCE * taught.loss, (number, ours.loss, taught.loss)
    # the new momentum is the update, learning rate and all
    teachers = [with_factor(step.state.momentum, ours.state.momentum, state, slopes) for step in (taught, other)]
    differences = {name: difference(ours.state.momentum[name], *(t[name] for t in teachers)) for name in state.args}
    for name, found in differences.items():
        assert found.ours <= ARRAY_TOLERANCE * found.length + NOISE, (number, name, found)
        moved = taught.state.args[name] - ours.state.args[name]
        assert name in slopes or np.linalg.norm(moved) <= ARRAY_TOLERANCE * found.length + NOISE, (number, name)
    for name, expected in taught.state.aux.items():
        moved = ours.state.aux[name] - expected
        assert np.linalg.norm(moved) <= STATISTICS_TOLERANCE * np.linalg.norm(expected) + NOISE, (number, name)
    return differences


def with_factor(momentum: Arrays, ours: Arrays, state: State, slopes: frozenset[str]) -> Arrays:
    """MXNet's new momentum, those of the slopes as if their gradients had the factor; ours, which has it, tells."""
    corrected = dict(momentum)
    for name in slopes:
        slope = state.args[name]
        without_gradient = MOMENTUM * state.momentum[name] - LR * WD * slope
        factored = without_gradient + (momentum[name] - without_gradient) * slope
        if np.linalg.norm(factored - ours[name]) < np.linalg.norm(momentum[name] - ours[name]):
            corrected[name] = factored
    return corrected


def difference(ours: np.ndarray, taught: np.ndarray, other: np.ndarray) -> Difference:
    return Difference(*(float(np.linalg.norm(array)) for array in (taught, ours - taught, other - taught)))


def total(differences: Sequence[Difference]) -> Difference:
    """Of all arrays taken as one."""
    return Difference(*(float(np.linalg.norm(column)) for column in zip(*differences, strict=True)))


def relative_over_steps(steps: Sequence[Difference], field: str) -> float:
    return float(np.sqrt(np.mean([(getattr(step, field) / step.length) ** 2 for step in steps])))
