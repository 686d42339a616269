"""Every loss of `LOSSES`: the fused step and our autograd graph against the paper's formula, over several steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.losses.references import LOSSES, S
from torch import Tensor

from mxface.errors import ConfigError
from mxface.losses import HeadConfig, SoftmaxHead, fused_softmax
from mxface.losses.adaface import AdaFace
from mxface.losses.curricular import CurricularFace
from mxface.losses.magface import MagFace
from mxface.losses.margin import BatchRows, CombinedMargin, margin_cosine
from mxface.losses.sub_centre import keep_nearest
from mxface.losses.threshold import ThresholdMargin

CLASSES, BATCH, EMB_SIZE = 23, 16, 8
COSINES = torch.linspace(-0.99, 0.99, 23, dtype=torch.float64)
LENGTHS = torch.linspace(1.0, 6.0, 23, dtype=torch.float64)
RATE = {"lr": 0.2, "momentum": 0.9, "wd": 0.01}


def make_head(name: str, **options: Any) -> SoftmaxHead:
    loss = LOSSES[name]
    config = HeadConfig(num_classes=CLASSES, emb_size=EMB_SIZE, **loss.config)
    options = {"dtype": torch.float64, "rule": loss.rule(), **options}
    return SoftmaxHead(config, generator=torch.Generator().manual_seed(3), **options)


def make_batch(head: SoftmaxHead, number: int) -> tuple[Tensor, Tensor]:
    """Half of the rows lie near a centre of their class, and the lengths differ."""
    rng = torch.Generator().manual_seed(number)
    label = torch.randint(CLASSES, (BATCH,), generator=rng)
    label[:3] = label[0]  # a class with several rows
    embedding = torch.randn(BATCH, EMB_SIZE, dtype=torch.float64, generator=rng)
    centre = head.fc7_weight.detach().to(embedding.dtype).view(CLASSES, -1, EMB_SIZE)[label[::2], 0]
    embedding[::2] = 0.3 * embedding[::2] + 3 * centre / centre.norm(dim=1, keepdim=True)
    return embedding * torch.linspace(0.4, 1.8, BATCH, dtype=torch.float64).unsqueeze(1), label


@pytest.mark.parametrize("kept_bytes", [0, 256 << 20])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_paper_formula(name: str, kept_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of SGD: loss, gradients and centres, with what a loss remembers."""
    monkeypatch.setitem(fused_softmax.CHUNK_CLASSES, "cpu", 7)
    monkeypatch.setattr(fused_softmax, "KEPT_PRODUCT_BYTES", kept_bytes)
    head, memory = make_head(name), {}
    weight = head.fc7_weight.detach().clone().requires_grad_()
    velocity = torch.zeros_like(weight)
    for number in range(3):
        embedding, label = make_batch(head, number)
        inputs = embedding.clone().requires_grad_()
        loss = LOSSES[name].reference(inputs, weight, label, memory)
        grad_inputs, grad_weight = torch.autograd.grad(loss, (inputs, weight))
        dense_inputs = embedding.clone().requires_grad_()
        dense = head(dense_inputs, label)
        dense_grads = torch.autograd.grad(dense.loss, (dense_inputs, head.fc7_weight))
        output, gradient = head.step(embedding, label, **RATE)
        with torch.no_grad():
            velocity = 0.9 * velocity - 0.2 * (grad_weight + 0.01 * weight)
            weight += velocity
        for ours, theirs in (
            (output.loss, loss.detach()),
            (gradient, grad_inputs),
            (head.fc7_weight_momentum, velocity),
            (head.fc7_weight.detach(), weight.detach()),
            (dense.loss.detach(), loss.detach()),
            (dense_grads[0], grad_inputs),
            (dense_grads[1], grad_weight),
            (output.cross_entropy, dense.cross_entropy.detach()),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
        assert torch.equal(output.correct, dense.correct)
        if "hard" in memory:
            assert 0.1 < memory["hard"].double().mean() < 0.9
    if "centres" in memory:
        torch.testing.assert_close(head.centre_loss.centres, memory["centres"])
    if "t" in memory:
        assert head.rule.average.item() == pytest.approx(memory["t"].item())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_float32_and_rough_products_stay_close(name: str, product_dtype: torch.dtype | None) -> None:
    """A loss that picks centres or classes may not be thrown off where rounding picks others."""
    exact, rough = make_head(name), make_head(name, dtype=torch.float32, product_dtype=product_dtype)
    rough.load_state_dict(exact.state_dict())
    embedding, label = make_batch(exact, 0)
    (output, gradient), (rough_output, rough_gradient) = (
        exact.step(embedding, label, **RATE), rough.step(embedding.float(), label, **RATE)
    )  # fmt: skip
    tolerance = 1e-5 if product_dtype is None else 0.05
    torch.testing.assert_close(rough_output.loss.double(), output.loss, rtol=tolerance, atol=0)
    assert (rough_gradient - gradient).norm() < tolerance * gradient.norm()
    moved, rough_moved = exact.fc7_weight_momentum, rough.fc7_weight_momentum
    assert (rough_moved - moved).norm() < tolerance * moved.norm()


@pytest.mark.parametrize("name", ["adaface", "curricular", "centre"])
def test_what_a_loss_remembers_is_in_its_state(name: str) -> None:
    straight, first, second = (make_head(name) for _ in range(3))
    batches = [make_batch(straight, number) for number in range(2)]
    for head, batch in ((straight, batches[0]), (straight, batches[1]), (first, batches[0])):
        head.step(*batch, **RATE)
    second.load_state_dict(first.state_dict())
    second.step(*batches[1], **RATE)
    resumed, expected = second.state_dict(), straight.state_dict()
    assert len(resumed) == 3
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", LOSSES)
def test_a_refused_step_changes_nothing(name: str) -> None:
    head = make_head(name)
    before = {key: tensor.clone() for key, tensor in head.state_dict().items()}

    def refuse(output: Any) -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        head.step(*make_batch(head, 0), **RATE, check=refuse)
    assert all(torch.equal(before[key], tensor) for key, tensor in head.state_dict().items())


RULES = {name: loss.rule for name, loss in LOSSES.items() if loss.rule() is not None}


@pytest.mark.parametrize("name", RULES)
def test_derivatives_are_those_of_the_values(name: str) -> None:
    cosine, norm = COSINES.clone().requires_grad_(), LENGTHS.clone().requires_grad_()
    target = RULES[name]().target(BatchRows(cosine, norm))
    by_cosine, by_norm = torch.autograd.grad(target.cosine.sum(), (cosine, norm), allow_unused=True, retain_graph=True)
    torch.testing.assert_close(target.slope, by_cosine)
    if target.norm_slope is not None:
        torch.testing.assert_close(target.norm_slope, by_norm)
    else:
        assert by_norm is None
    if target.penalty is None:
        return
    by_cosine, by_norm = torch.autograd.grad(target.penalty.sum(), (cosine, norm), allow_unused=True)
    for ours, theirs in ((target.penalty_slope, by_cosine), (target.penalty_norm_slope, by_norm)):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", RULES)
def test_finite_at_the_ends(name: str) -> None:
    ends = torch.tensor([1.0, -1.0, 1.0000002, -1.0000002])
    target = RULES[name]().target(BatchRows(ends, torch.tensor([0.0, 1e6, 3.0, 3.0])))
    assert all(torch.isfinite(values).all() for values in target if values is not None)


@pytest.mark.parametrize("name", RULES)
def test_without_its_margin_a_rule_leaves_cosines_alone(name: str) -> None:
    rule = RULES[name]()
    rule.share = 0.0
    torch.testing.assert_close(rule.target(BatchRows(COSINES, LENGTHS)).cosine, COSINES)


def test_the_share_of_a_head_is_that_of_its_rule() -> None:
    head, half = (make_head("curricular", rule=CurricularFace(m)) for m in (0.5, 0.25))
    head.margin_share = 0.5
    batch = make_batch(head, 0)
    assert torch.equal(head.step(*batch, **RATE)[1], half.step(*batch, **RATE)[1])


@pytest.mark.parametrize("m", [-0.1, 1.6])
def test_the_threshold_is_for_angles_below_a_right_one(m: float) -> None:
    """2019 asserted it: beyond, the penalty behind the threshold is no longer a margin."""
    with pytest.raises(ConfigError, match="expected an angle from 0 to below pi / 2"):
        ThresholdMargin(m, easy=False)


def test_the_threshold_takes_over_where_the_angle_ends() -> None:
    plain = margin_cosine(COSINES, 1.0, 0.5, 0.0)
    careful = ThresholdMargin(0.5, easy=False).target(BatchRows(COSINES, LENGTHS)).cosine
    fits = torch.arccos(COSINES) + 0.5 < math.pi
    assert 0 < fits.sum() < len(fits)
    torch.testing.assert_close(careful[fits], plain[fits])
    assert (careful.diff() > 0).all()  # plain cos(t + m) rises again towards t = pi
    assert not (plain.diff() > 0).all()
    easy = ThresholdMargin(0.5, easy=True).target(BatchRows(COSINES, LENGTHS)).cosine
    torch.testing.assert_close(easy[COSINES <= 0], COSINES[COSINES <= 0])
    torch.testing.assert_close(easy[COSINES > 0], plain[COSINES > 0])


def test_adaface_is_arcface_cosface_and_beyond() -> None:
    """At q = -1 an angle of m, at q = 0 m off the cosine, at q = 1 an angle of -m and 2 m off."""
    rule = AdaFace(0.4, 0.333)
    lengths = torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64)
    rule.statistics.copy_(torch.tensor([1.0, 3.0, 1e-3]))
    cosine = torch.full((3,), 0.3, dtype=torch.float64)
    angle = math.acos(0.3)
    expected = [math.cos(angle + 0.4), 0.3 - 0.4, math.cos(angle - 0.4) - 0.8]
    assert rule.target(BatchRows(cosine, lengths)).cosine.tolist() == pytest.approx(expected)


def test_the_first_batch_of_adaface_counts_for_itself() -> None:
    rule = AdaFace(0.4, 1.0)
    lengths = torch.tensor([1.0, 3.0], dtype=torch.float64)  # mean 2, sigma 1
    assert rule.quality(lengths).tolist() == pytest.approx([-1, 1])
    assert rule.quality(torch.tensor([5.0])).tolist() == [0]  # a batch of one is its own mean


def test_magface_asks_more_of_long_embeddings_and_rewards_them() -> None:
    target = RULES["magface"]().target(BatchRows(torch.full_like(LENGTHS, 0.5), LENGTHS))
    inside = (LENGTHS > 2) & (LENGTHS < 4)
    assert (target.cosine[inside].diff() < 0).all()
    assert target.penalty is not None
    assert (target.penalty[inside].diff() < 0).all()
    assert target.norm_slope is not None
    assert not target.norm_slope[~inside].any()


def test_one_sub_centre_is_arcface_to_the_bit() -> None:
    options = {"config": HeadConfig(num_classes=CLASSES, emb_size=EMB_SIZE, s=S, m2=0.5), "dtype": torch.float64}
    one, plain = (SoftmaxHead(**options, generator=torch.Generator().manual_seed(0), rule=rule)
                  for rule in (CombinedMargin(1.0, 0.5, 0.0), None))  # fmt: skip
    batch = make_batch(one, 0)
    assert torch.equal(one.step(*batch, **RATE)[1], plain.step(*batch, **RATE)[1])
    assert one.fc7_weight.shape == (CLASSES, EMB_SIZE)


def test_of_sub_centres_only_the_nearest_learn() -> None:
    head = make_head("sub-centre")
    embedding, label = (values[:4] for values in make_batch(head, 0))
    cosine = torch.stack([(embedding / embedding.norm(dim=1, keepdim=True)) @ (w / w.norm(dim=1, keepdim=True)).T
                          for w in head.fc7_weight.detach().unbind(dim=1)])  # fmt: skip
    nearest = torch.nn.functional.one_hot(cosine.argmax(dim=0), 3).amax(dim=0).bool()  # (C, K): of any image
    before = head.fc7_weight.detach().clone()
    head.step(embedding, label, lr=0.1, momentum=0.0, wd=0.0)
    assert torch.equal((before != head.fc7_weight).any(dim=2), nearest)
    assert 0 < nearest.sum() < nearest.numel()


def test_of_equally_near_centres_the_first_counts() -> None:
    logits = torch.tensor([[1.0], [3.0], [3.0], [2.0], [2.0], [2.0]])  # two classes of three
    changed, slope = keep_nearest(3)(logits)
    assert slope.squeeze(1).tolist() == [0, 1, 0, 1, 0, 0]
    assert changed.squeeze(1).tolist() == [-math.inf, 3, -math.inf, 2, -math.inf, -math.inf]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MagFace(l_a=5, u_a=2, l_m=0.1, u_m=0.2, lambda_g=1), "loss_la is 5 and loss_ua 2"),
        (lambda: MagFace(l_a=1, u_a=2, l_m=0.3, u_m=0.2, lambda_g=1), "loss_lm is 0.3 and loss_um 0.2"),
        (lambda: MagFace(l_a=1, u_a=2, l_m=0.1, u_m=0.2, lambda_g=-1), "loss_lambda_g is -1"),
        (lambda: AdaFace(0.4, 0.0), "loss_h 0.0"),
        (lambda: AdaFace(-0.4, 0.3), "loss_m is -0.4"),
        (lambda: CurricularFace(-0.4), "loss_m2 is -0.4"),
        (lambda: make_head("sub-centre", rule=CurricularFace(0.5)), "loss_sub_centres is 3: CurricularFace has one"),
        (lambda: make_head("inter", sample_rate=0.5), "sample_rate is 0.5: the inter loss needs all classes"),
        (lambda: HeadConfig(num_classes=3, emb_size=2, kind="softmax", sub_centres=2), "loss_sub_centres is 2"),
        (lambda: HeadConfig(num_classes=3, emb_size=2, sub_centres=0), "loss_sub_centres is 0"),
    ],
)
def test_settings_that_cannot_work(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
