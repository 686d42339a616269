"""One step of the learner, held against the same step under plain autograd."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
import torch
from tests.train.tiny import NUM_CLASSES, configure, tiny_batch, tiny_learner

from mxface.errors import ConfigError, DataError, NonFiniteLossError
from mxface.losses import HeadOutput, SoftmaxHead
from mxface.losses.adaface import AdaFace
from mxface.losses.curricular import CurricularFace
from mxface.losses.margin import MarginRule
from mxface.train.compile import COMPILERS
from mxface.train.guard import NotFiniteError
from mxface.train.optimizer import SGD


def accept(output: HeadOutput) -> None:
    """No check."""


def test_a_step_equals_plain_autograd_and_sgd() -> None:
    config = configure(wd=0.1)  # large enough that leaving it out would show
    learner, reference = tiny_learner(config, dropout=0.0), tiny_learner(config, dropout=0.0)
    head: SoftmaxHead = reference.head
    plain_head = SGD(head.named_parameters(), lr=config.lr, momentum=config.mom, wd=config.wd)
    for number in range(3):
        images, label = learner.fetch(tiny_batch(number))
        output = learner.step(learner.forward(images), label, lr=config.lr, check=accept)
        expected = head(reference.backbone(images), label)
        expected.loss.backward()
        for optimizer in (reference.optimizer, plain_head):
            optimizer.step()
            optimizer.zero_grad()
        torch.testing.assert_close(output.loss, expected.loss.detach(), rtol=1e-5, atol=1e-5)
    ours, theirs = learner.backbone.state_dict(), reference.backbone.state_dict()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=5e-5)
    torch.testing.assert_close(learner.head.fc7_weight, head.fc7_weight, rtol=0, atol=5e-5)


def test_a_preview_is_what_the_batch_would_give_and_changes_nothing() -> None:
    learner, reference = tiny_learner(), tiny_learner()
    for step in (1, 2):
        for each in (learner, reference):
            each.train_batch(tiny_batch(step), step=step, lr=0.1, check=accept)
        before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
        seen = learner.preview(tiny_batch(step + 1), step=step + 1)
        assert all(torch.equal(tensor, before[name]) for name, tensor in learner.tensors().items())
        assert not any(parameter.grad is not None for parameter in learner.backbone.parameters())
        twin = copy.deepcopy(reference)  # the reference itself never sees a preview
        expected = twin.train_batch(tiny_batch(step + 1), step=step + 1, lr=0.1, check=accept).output
        assert all(torch.equal(found, value) for found, value in zip(seen, expected, strict=True))
    assert all(torch.equal(tensor, reference.tensors()[name]) for name, tensor in learner.tensors().items())


def test_the_check_comes_before_any_parameter_changes() -> None:
    learner = tiny_learner()
    before = {name: value.copy() for name, value in learner.export()[0].items()}

    def refuse(output: HeadOutput) -> None:
        raise NonFiniteLossError(f"{output.loss}")

    images, label = learner.fetch(tiny_batch(0))
    with pytest.raises(NonFiniteLossError):
        learner.step(learner.forward(images), label, lr=0.1, check=refuse)
    after = learner.export()[0]
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(not tensor.any() for name, tensor in learner.tensors().items() if "momentum" in name)


def test_a_gradient_that_is_not_finite_leaves_the_backbone_as_it_was() -> None:
    learner = tiny_learner()
    learner.train_batch(tiny_batch(0), step=1, lr=0.1, check=accept)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    hook = learner.backbone.get_parameter("conv0_weight").register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(NotFiniteError, match="the length of the backbone's gradient is"):
        learner.train_batch(tiny_batch(1), step=2, lr=0.1, check=accept)
    changed = [name for name, tensor in learner.tensors().items() if not torch.equal(tensor, before[name])]
    # the centres have taken their finite step; fix_gamma writes 1
    assert changed == ["backbone/fc1_gamma", "head/fc7_weight", "head/fc7_weight_momentum"]
    assert all(parameter.grad is None for parameter in learner.backbone.parameters())
    hook.remove()
    learner.train_batch(tiny_batch(1), step=2, lr=0.1, check=accept)


def test_the_margin_grows_with_the_step() -> None:
    growing = tiny_learner(configure(margin_warmup=3))
    shares = []
    for step in range(1, 6):
        growing.train_batch(tiny_batch(step), step=step, lr=0.1, check=accept)
        shares.append(growing.head.margin_share)
    assert shares == [0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1, 1]
    first = [tiny_learner(configure(margin_warmup=warmup)) for warmup in (0, 3)]
    losses = [float(learner.train_batch(tiny_batch(0), step=1, lr=0.1, check=accept).output.loss) for learner in first]
    assert losses[1] < losses[0] - 0.1


@pytest.mark.parametrize("rule", [AdaFace(0.4, 0.333), CurricularFace(0.5)], ids=lambda rule: type(rule).__name__)
def test_a_refused_batch_leaves_no_trace_in_what_a_loss_remembers(rule: MarginRule) -> None:
    learner = tiny_learner()
    learner.head.rule = rule
    learner.train_batch(tiny_batch(0), step=1, lr=0.1, check=accept)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    assert any("rule" in name for name in before)

    def refuse(_output: HeadOutput) -> None:
        raise NotFiniteError("the loss is nan")

    with pytest.raises(NotFiniteError):
        learner.train_batch(tiny_batch(1), step=2, lr=0.1, check=refuse)
    changed = [name for name, tensor in learner.tensors().items() if not torch.equal(tensor, before[name])]
    assert changed == ["backbone/fc1_gamma"]  # every forward writes 1 into it
    learner.train_batch(tiny_batch(1), step=2, lr=0.1, check=accept)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in learner.tensors().items() if "rule" in name)


def test_a_rehearsal_changes_nothing() -> None:
    learner = tiny_learner()
    learner.train_batch(tiny_batch(0), step=1, lr=0.1, check=accept)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    learner.rehearse(tiny_batch(1).data)
    changed = [name for name, tensor in learner.tensors().items() if not torch.equal(tensor, before[name])]
    assert changed == ["backbone/fc1_gamma"]  # every forward writes 1 into it
    assert all(parameter.grad is None for parameter in learner.backbone.parameters())


def test_compiling_without_a_compiler_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"needs a C.. compiler, and there is no no-such-compiler on the path"):
        tiny_learner(configure(compile=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")
@pytest.mark.parametrize("dtype", ["float32", "bf16"])
def test_a_compiled_backbone_learns_the_same_under_the_same_names(dtype: str) -> None:
    compiled, plain = (tiny_learner(configure(compile=compile, dtype=dtype), dropout=0.0) for compile in (True, False))
    for learner in (compiled, plain):
        learner.train_batch(tiny_batch(0), step=1, lr=0.1, check=accept)
    expected = plain.tensors()
    assert list(compiled.tensors()) == list(expected)
    tolerance = 1e-5 if dtype == "float32" else 3e-2
    for name, tensor in compiled.tensors().items():
        torch.testing.assert_close(tensor, expected[name], rtol=tolerance, atol=tolerance, msg=name)
    np.testing.assert_allclose(compiled.embed(tiny_batch(1).data), plain.embed(tiny_batch(1).data), atol=0.05)


def test_clipping_shortens_the_gradient_of_the_backbone_alone() -> None:
    largest = 0.01
    free, clipped = tiny_learner(), tiny_learner(configure(clip_grad=largest))
    start = free.backbone.get_parameter("conv0_weight").detach().clone()
    for learner in (free, clipped):
        learner.train_batch(tiny_batch(0), step=1, lr=0.1, check=accept)
    momentum = [learner.optimizer.state_dict() for learner in (free, clipped)]
    # after the first step v = -lr * (gradient + wd * w); beta starts at 0, so its part has no decay in it
    ratio = momentum[1]["bn0_beta"] / momentum[0]["bn0_beta"]
    assert ratio.max() < 1
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    gradients = {name: -value / 0.1 for name, value in momentum[1].items()}
    start_of = tiny_learner().backbone.state_dict()
    length = sum(float((gradients[name] - 0.0005 * start_of[name]).square().sum()) for name in gradients) ** 0.5
    assert length == pytest.approx(largest, rel=1e-3)
    assert torch.equal(free.head.fc7_weight, clipped.head.fc7_weight)
    assert not torch.equal(clipped.backbone.get_parameter("conv0_weight"), start)


def test_images_are_a_channels_last_view_of_what_the_loader_made() -> None:
    batch = tiny_batch(0)
    images, label = tiny_learner().fetch(batch)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), batch.data)
    assert label.tolist() == batch.label.tolist()


@pytest.mark.parametrize("wrong", [-1, NUM_CLASSES])
def test_a_label_beyond_the_classes_is_refused(wrong: int) -> None:
    batch = tiny_batch(0)
    batch.label[3] = wrong
    with pytest.raises(DataError, match=f"label {wrong} in the data, but num_classes is {NUM_CLASSES}"):
        tiny_learner().fetch(batch)


def test_embedding_uses_the_moving_statistics_and_changes_nothing() -> None:
    learner = tiny_learner()
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    data = tiny_batch(0).data
    whole = learner.embed(data)
    np.testing.assert_allclose(np.concatenate([learner.embed(data[:3]), learner.embed(data[3:])]), whole, atol=1e-6)
    assert learner.backbone.training
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.tensors().items())


def test_bf16_computes_in_bf16_and_learns_in_float32() -> None:
    learner = tiny_learner(configure(dtype="bf16"))
    images, label = learner.fetch(tiny_batch(0))
    losses = []
    for number in range(20):
        images, label = learner.fetch(tiny_batch(number))
        losses.append(float(learner.step(learner.forward(images), label, lr=0.1, check=accept).loss))
    assert all(tensor.dtype == torch.float32 for tensor in learner.tensors().values())
    assert losses[-1] < 0.7 * losses[0]


def test_export_holds_what_the_graph_names() -> None:
    args, aux = tiny_learner().export()
    assert set(aux) == {"bn0_moving_mean", "bn0_moving_var", "fc1_moving_mean", "fc1_moving_var"}
    assert "fc7_weight" in args
    assert args["conv0_weight"].shape == (4, 3, 3, 3)
