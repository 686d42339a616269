"""MxnetLearner held to Learner: free runs from one start, states handed across, and what a batch must not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.mxnet.engines import (
    LOSSES,
    TRIPLETS,
    Engines,
    accept,
    assert_alike,
    build_engines,
    loss_graph,
    relu_embedding,
    same_bits,
)
from tests.mxnet.module import MxnetTrainer, State
from tests.support.faces import photograph
from tests.train.tiny import NUM_CLASSES, SIDE, configure, tiny_batch, tiny_embedding

from mxface.errors import DataError
from mxface.loaders import Batch
from mxface.losses import HeadOutput
from mxface.symbols import get_symbol
from mxface.train.guard import NotFiniteError
from mxface.train.learner import Trainee
from mxface.train.mxnet_learner import MxnetLearner

pytestmark = [pytest.mark.mxnet, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

BATCH_SIZE = 12  # of which triplets and two devices have even shares
CONFIG = configure(batch_size=BATCH_SIZE, lr=0.02, wd=0.01)  # a decay large enough that leaving it out would show
TOLERANCE = 2e-5


def train(learner: Trainee, steps: range, *, lr: float = CONFIG.lr) -> list[float]:
    """Train on batches that follow from their numbers; the losses. The rate halves with the fifth step."""
    rates = {step: lr if step < 5 else lr / 2 for step in steps}
    trained = (learner.train_batch(tiny_batch(s, BATCH_SIZE), step=s, lr=rates[s], check=accept) for s in steps)
    return [float(batch.output.loss) for batch in trained]


def assert_same_training(engines: Engines, steps: range, tolerance: float = TOLERANCE) -> None:
    """Losses, then everything that training changes."""
    ours, theirs = (train(learner, steps) for learner in engines)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance)
    assert ours[-1] != ours[0]
    assert_alike(engines.torch.tensors(), engines.mxnet.tensors(), tolerance)


def test_both_start_from_the_same_bits() -> None:
    ours, theirs = (learner.tensors() for learner in build_engines("softmax", CONFIG))
    assert {name: (t.shape, t.dtype) for name, t in ours.items()} == {n: (t.shape, t.dtype) for n, t in theirs.items()}
    assert same_bits(ours, theirs)


@pytest.mark.parametrize("loss", LOSSES)
def test_ten_steps_of_every_loss(loss: str) -> None:
    """A free run; the slopes of PReLU with MXNet's factor on both sides."""
    engines = build_engines(loss, CONFIG)
    assert_same_training(engines, range(1, 11))
    images = tiny_batch(99, 7).data  # fewer than a batch
    assert_alike({"": engines.torch.embed(images)}, {"": engines.mxnet.embed(images)}, TOLERANCE)
    assert_alike(*({**args, **aux} for args, aux in (learner.export() for learner in engines)), TOLERANCE)


def test_the_bits_are_those_of_a_plain_module() -> None:
    """2019's Module and optimiser, put together without our learner: the same update, the same statistics."""
    learner = build_engines("arcface", CONFIG).mxnet
    graph = loss_graph(tiny_embedding(dropout=0.0), "arcface", BATCH_SIZE).tojson()
    plain = MxnetTrainer(graph, (BATCH_SIZE, 3, SIDE, SIDE), lr=CONFIG.lr, momentum=CONFIG.mom, wd=CONFIG.wd)
    for step in range(1, 4):
        batch, state = tiny_batch(step, BATCH_SIZE), state_of(learner)
        taught = plain.step(state, batch.data.transpose(0, 3, 1, 2).astype(np.float32), batch.label)
        loss = float(learner.train_batch(batch, step=step, lr=CONFIG.lr, check=accept).output.loss)
        assert loss == pytest.approx(taught.loss, rel=1e-6)
        for ours, theirs in zip(state_of(learner), taught.state, strict=True):
            assert same_bits(theirs, ours)


def state_of(learner: MxnetLearner) -> State:
    """Its tensors as `MxnetTrainer` takes them."""
    tensors = {name: tensor.numpy() for name, tensor in learner.tensors().items()}
    args, aux = learner.export()
    momentum = {name: tensors.get(f"momentum/{name}", tensors.get(f"head/{name}_momentum")) for name in args}
    return State(args, momentum, aux)


@pytest.mark.parametrize("loss", ["softmax", *TRIPLETS])
def test_a_preview_is_what_the_batch_would_give_and_changes_nothing(loss: str) -> None:
    learner = build_engines(loss, CONFIG).mxnet
    train(learner, range(1, 3))
    before = learner.tensors()
    seen = learner.preview(tiny_batch(3, BATCH_SIZE), step=3)
    assert same_bits(before, learner.tensors())
    expected = learner.train_batch(tiny_batch(3, BATCH_SIZE), step=3, lr=CONFIG.lr, check=accept).output
    assert all(torch.equal(found, value) for found, value in zip(seen, expected, strict=True))


def test_what_a_batch_gives() -> None:
    engines = build_engines("arcface", CONFIG)
    ours, theirs = (e.train_batch(tiny_batch(1, BATCH_SIZE), step=1, lr=0.02, check=accept) for e in engines)
    torch.testing.assert_close(ours.output.cross_entropy, theirs.output.cross_entropy, rtol=1e-5, atol=1e-5)
    assert ours.output.correct.tolist() == theirs.output.correct.tolist()
    torch.testing.assert_close(ours.embedding, theirs.embedding, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"wd_scope": "weights"}, {"mom": 0.0}], ids=["multipliers count", "without momentum"]
)
def test_ten_steps_with_other_settings(changes: dict[str, object]) -> None:
    """The momentum buffers of a run without momentum are the last update on both sides, or nothing."""
    engines = build_engines("softmax", replace(CONFIG, **changes))
    ours, theirs = (train(learner, range(1, 11)) for learner in engines)
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE)
    assert_alike(*({**args, **aux} for args, aux in (learner.export() for learner in engines)), TOLERANCE)


def test_a_mobilefacenet_runs_free_for_ten_steps() -> None:
    """With PReLU and MXNet's factor. The rate is small, as rounding grows tenfold with each step otherwise."""
    side, num_rows, lr = 56, 8, 1e-5
    embedding = get_symbol("fmobilefacenet", emb_size=32, net_output="FC", net_blocks=(1, 1, 1, 1))
    config = replace(CONFIG, lr=lr, batch_size=num_rows)
    sizes = {"num_classes": 4, "emb_size": 32}
    engines = build_engines("arcface", config, embedding=embedding, net_name="fmobilefacenet", side=side, **sizes)
    losses: list[list[float]] = []
    label = np.arange(num_rows) % 4
    for step in range(1, 11):
        faces = [photograph(int(person), 10 * step + row, size=(side, side)) for row, person in enumerate(label)]
        batch = Batch(np.stack(faces), label, np.arange(num_rows))
        trained = [learner.train_batch(batch, step=step, lr=lr, check=accept) for learner in engines]
        losses.append([float(each.output.loss) for each in trained])
    np.testing.assert_allclose(*losses[0], rtol=1e-5)
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=5e-3)
    assert losses[-1][0] < 0.8 * losses[0][0]
    assert_alike(engines.torch.tensors(), engines.mxnet.tensors(), 5e-3)


def test_training_crosses_over_and_back() -> None:
    """Three steps on torch, three on MXNet, three on torch: the parameters and momenta of nine on torch alone."""
    engines, whole = build_engines("combined", CONFIG), build_engines("combined", CONFIG).torch
    losses = train(engines.torch, range(1, 4))
    engines.mxnet.load(engines.torch.tensors())
    assert same_bits(engines.torch.tensors(), engines.mxnet.tensors())
    losses += train(engines.mxnet, range(4, 7))
    for name, tensor in engines.mxnet.tensors().items():
        engines.torch.tensors()[name].copy_(tensor)
    losses += train(engines.torch, range(7, 10))
    np.testing.assert_allclose(losses, train(whole, range(1, 10)), rtol=TOLERANCE)
    assert_alike(engines.torch.tensors(), whole.tensors(), TOLERANCE)


def test_embedding_between_steps_changes_no_bit() -> None:
    """MXNet's CPU kernels may keep weights in an order of their own."""
    disturbed, plain = (build_engines("arcface", CONFIG).mxnet for _ in range(2))
    for step in range(1, 5):
        for rows in (5, BATCH_SIZE):
            disturbed.embed(tiny_batch(step, rows).data)
        for learner in (disturbed, plain):
            train(learner, range(step, step + 1))
    assert same_bits(disturbed.tensors(), plain.tensors())


def test_dropout_follows_from_seed_and_step() -> None:
    embedding = tiny_embedding(dropout=0.4)
    config = replace(CONFIG, lr=1e-9)
    same, again, other = (
        build_engines("softmax", replace(config, seed=seed), embedding=embedding).mxnet for seed in (0, 0, 1)
    )
    other.load(same.tensors())
    assert train(same, range(1, 4)) == train(again, range(1, 4)) != train(other, range(1, 4))
    # a step of a resumed run
    resumed = build_engines("softmax", config, embedding=embedding).mxnet
    resumed.load(same.tensors())
    assert train(resumed, range(4, 5)) == train(same, range(4, 5))


@pytest.mark.parametrize("loss", ["arcface", *TRIPLETS])
def test_two_devices_are_one(loss: str) -> None:
    """Without BatchNorm, which each has to itself: 2019's 1/n of two summed gradients."""
    embedding = relu_embedding(batch_norm=False)
    config = replace(CONFIG, wd_scope="weights")
    engines = build_engines(loss, config, embedding=embedding, num_devices=2)
    batch = tiny_batch(1, BATCH_SIZE)
    if loss in TRIPLETS:  # which are one device's: each half of MXNet's batch is anchors, positives and negatives
        order = np.arange(BATCH_SIZE).reshape(2, 3, -1).transpose(1, 0, 2).reshape(-1)
        whole = replace(batch, data=batch.data[order], label=batch.label[order])
        ours = engines.torch.train_batch(whole, step=1, lr=0.02, check=accept)
        theirs = engines.mxnet.train_batch(batch, step=1, lr=0.02, check=accept)
        torch.testing.assert_close(ours.output.cross_entropy, theirs.output.cross_entropy, rtol=1e-5, atol=1e-5)
        assert_alike(engines.torch.tensors(), engines.mxnet.tensors(), TOLERANCE)
        return
    assert_same_training(engines, range(1, 7))
    images = tiny_batch(99, 5).data
    assert_alike({"": engines.torch.embed(images)}, {"": engines.mxnet.embed(images)}, TOLERANCE)
    engines.mxnet.load(engines.torch.tensors())
    assert_same_training(engines, range(7, 10))


def test_statistics_of_two_devices_become_their_mean() -> None:
    learner = build_engines("softmax", CONFIG, num_devices=2).mxnet
    train(learner, range(1, 3))
    images = np.repeat(tiny_batch(5, 1).data, 2, axis=0)
    first, second = learner.embed(images)
    assert np.abs(first - second).max() > 1e-3  # each device with the statistics of its own half
    mean = learner.tensors()
    learner.average_statistics()
    first, second = learner.embed(images)
    np.testing.assert_array_equal(first, second)
    assert same_bits(mean, learner.tensors())


class RefusedError(Exception):
    """What a check may raise."""


def test_a_refused_batch_changes_nothing() -> None:
    learner = build_engines("arcface", CONFIG).mxnet
    train(learner, range(1, 3))
    before = learner.tensors()

    def refuse(output: HeadOutput) -> None:
        raise RefusedError(f"{output.loss}")

    with pytest.raises(RefusedError):
        learner.train_batch(tiny_batch(3, BATCH_SIZE), step=3, lr=0.1, check=refuse)
    after = learner.tensors()
    # of a BatchNorm with fix_gamma, which ignores it: MXNet's forward writes 1 there, our optimiser lets it decay
    assert {name for name in before if not same_bits(before, after, [name])} <= {"backbone/fc1_gamma"}
    train(learner, range(3, 4))
    assert not same_bits(before, learner.tensors())


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    """In one dimension every cosine is ±1, where MXNet's arccos has no derivative; the loss is finite."""
    embedding = get_symbol("fmobilefacenet", emb_size=1, net_output="GDC", net_blocks=(1, 1, 1, 1))
    config = replace(CONFIG, batch_size=2)
    learner = build_engines("arcface", config, embedding=embedding, side=112, num_classes=2, emb_size=1).mxnet
    before = learner.tensors()
    before["head/fc7_weight"].fill_(1.0)  # long enough for the 1e-10 of the normalisation to round away
    learner.load(before)
    data = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    with pytest.raises(NotFiniteError, match="the loss is finite, but a gradient is not"):
        learner.train_batch(replace(tiny_batch(0, 2), data=data), step=1, lr=0.1, check=accept)
    assert same_bits(before, learner.tensors())


def test_the_loss_is_finite_where_that_of_2019_is_not() -> None:
    """-log(softmax) of a probability that rounds to 0."""
    engines = build_engines("softmax", CONFIG)
    tensors = engines.mxnet.tensors()
    tensors["head/fc7_bias"][0] = -200.0
    engines.mxnet.load(tensors)
    engines.torch.head.fc7_bias.data[0] = -200.0
    ours, theirs = (train(learner, range(1, 2))[0] for learner in engines)
    assert theirs == pytest.approx(ours, rel=1e-5)
    assert theirs > 40


def test_a_label_that_is_no_class_is_refused() -> None:
    learner = build_engines("softmax", CONFIG).mxnet
    batch = tiny_batch(0, BATCH_SIZE)
    for wrong in (-1, NUM_CLASSES):
        label = np.where(np.arange(BATCH_SIZE) == 3, wrong, batch.label)
        with pytest.raises(DataError, match=f"label {wrong} in the data, but num_classes is {NUM_CLASSES}"):
            learner.train_batch(replace(batch, label=label), step=1, lr=0.1, check=accept)


def test_colour_jitter_gives_floats() -> None:
    floats, integers = (build_engines("softmax", CONFIG).mxnet for _ in range(2))
    batch = tiny_batch(0, BATCH_SIZE)
    losses = [
        float(learner.train_batch(each, step=1, lr=0.1, check=accept).output.loss)
        for learner, each in ((integers, batch), (floats, replace(batch, data=batch.data.astype(np.float32))))
    ]
    assert losses[0] == losses[1]
