"""The fused step against the dense autograd graph, and properties of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.storages import LargestStorages

from mxface.errors import ConfigError
from mxface.losses import HeadConfig, HeadOutput, SoftmaxHead, fused_softmax
from mxface.train.optimizer import SGD

CONFIGS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("softmax"), "no_bias": st.booleans()}),
    st.fixed_dictionaries(
        {
            "s": st.floats(1, 128),
            "m1": st.sampled_from([1.0, 0.9, 1.5, 2.0]),
            "m2": st.sampled_from([0.0, 0.3, 0.5]),
            "m3": st.sampled_from([0.0, 0.2, 0.35]),
        }
    ),
)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(2, 17))  # batch, classes, embedding


@dataclass
class Problem:
    """A head with weights of unit scale, and a batch."""

    head: SoftmaxHead
    embedding: torch.Tensor
    label: torch.Tensor


def make_problem(
    batch: int, classes: int, emb_size: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any
) -> Problem:
    rng = torch.Generator().manual_seed(seed)
    product_dtype = options.pop("product_dtype", None)
    config = HeadConfig(num_classes=classes, emb_size=emb_size, **options)
    head = SoftmaxHead(config, dtype=dtype, generator=rng, product_dtype=product_dtype)
    with torch.no_grad():
        head.fc7_weight.mul_(100)
        if head.fc7_bias is not None:
            head.fc7_bias.normal_(generator=rng)
    embedding = torch.randn(batch, emb_size, dtype=dtype, generator=rng)
    return Problem(head, embedding, torch.randint(classes, (batch,), generator=rng))


def dense_steps(
    problem: Problem, rates: list[float], momentum: float, wd: float
) -> tuple[list[HeadOutput], torch.Tensor]:
    """The same steps by autograd and the ordinary optimiser: outputs, and the embedding's gradient in the last one."""
    optimizer = SGD(problem.head.named_parameters(), lr=0, momentum=momentum, wd=wd)
    outputs, embedding = [], problem.embedding.clone().requires_grad_()
    for rate in rates:
        optimizer.lr = rate
        optimizer.zero_grad()
        embedding.grad = None
        outputs.append(problem.head(embedding, problem.label))
        outputs[-1].loss.backward()
        optimizer.step()
    assert embedding.grad is not None
    return outputs, embedding.grad


@pytest.fixture(params=["products kept", "products computed again"])
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fused_softmax.CHUNK_CLASSES, "cpu", 7)
    if request.param == "products computed again":
        monkeypatch.setattr(fused_softmax, "KEPT_PRODUCT_BYTES", 0)


@pytest.mark.usefixtures("small_chunks")
@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, options=CONFIGS, seed=st.integers(0, 10_000), wd=st.sampled_from([0.0, 0.05]))
def test_fused_equals_dense(sizes: tuple[int, int, int], options: dict[str, Any], seed: int, wd: float) -> None:
    rates = [0.3, 0.03]
    dense, fused = (make_problem(*sizes, seed=seed, **options) for _ in range(2))
    outputs, gradient = dense_steps(dense, rates, 0.9, wd)
    for rate, expected in zip(rates, outputs, strict=True):
        output, fused_gradient = fused.head.step(fused.embedding, fused.label, lr=rate, momentum=0.9, wd=wd)
        torch.testing.assert_close(output.loss, expected.loss.detach(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(output.cross_entropy, expected.cross_entropy.detach(), rtol=1e-10, atol=1e-10)
        assert torch.equal(output.correct, expected.correct)
    near_ends = {"rtol": 1e-8, "atol": 1e-9}  # the slope of arccos magnifies rounding where a cosine is close to +-1
    torch.testing.assert_close(fused_gradient, gradient, **near_ends)
    for name, parameter in dense.head.named_parameters():
        torch.testing.assert_close(fused.head.get_parameter(name), parameter, **near_ends)


@pytest.mark.parametrize(
    "options", [{"kind": "softmax"}, {}, {"m3": 0.35}, {"m2": 0.5}, {"m1": 1.5}, {"m1": 0.9, "m2": 0.4, "m3": 0.15}]
)
def test_dense_gradients(options: dict[str, Any]) -> None:
    problem = make_problem(4, 6, 5, s=8.0, **options)
    inputs = (problem.embedding.requires_grad_(), *problem.head.parameters())

    def loss(embedding: torch.Tensor, *_parameters: torch.Tensor) -> torch.Tensor:
        return problem.head(embedding, problem.label).loss  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(loss, inputs)


def test_without_margin_it_is_softmax_of_scaled_cosines() -> None:
    problem = make_problem(8, 20, 6, s=30.0)
    cosine = F.normalize(problem.embedding) @ F.normalize(problem.head.fc7_weight).T
    expected = F.cross_entropy(30 * cosine, problem.label)
    torch.testing.assert_close(problem.head(problem.embedding, problem.label).loss, expected, rtol=1e-7, atol=0)


def test_a_margin_makes_the_loss_larger() -> None:
    losses = [make_problem(8, 20, 6, m2=m2).head for m2 in (0.0, 0.2, 0.5)]
    problem = make_problem(8, 20, 6)
    values = [head(problem.embedding, problem.label).loss.item() for head in losses]
    assert values == sorted(values)
    assert values[0] < values[-1]


@pytest.mark.parametrize("scale", [1e-3, 64.0, 1e4])
def test_any_scale_is_safe_in_float32(scale: float) -> None:
    """All cosines negative at s = 1e4: exp(z - s) underflows, the running maximum does not."""
    problem = make_problem(6, 30, 4, dtype=torch.float32, s=scale)
    with torch.no_grad():
        problem.head.fc7_weight.copy_(-problem.embedding.mean(0) + 0.01 * problem.head.fc7_weight)
    problem.embedding.copy_(problem.embedding.mean(0).expand_as(problem.embedding))
    expected = problem.head(problem.embedding, problem.label)
    output, gradient = problem.head.step(problem.embedding, problem.label, lr=0.1, momentum=0.9, wd=0)
    torch.testing.assert_close(output.cross_entropy, expected.cross_entropy.detach(), rtol=1e-5, atol=1e-6 * scale)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(problem.head.fc7_weight).all()


@pytest.mark.parametrize("options", [{}, {"kind": "softmax", "no_bias": True}])
def test_equal_logits_are_not_correct(options: dict[str, Any]) -> None:
    problem = make_problem(5, 20, 4, **options)
    problem.embedding.zero_()
    assert not problem.head(problem.embedding, problem.label).correct.any()
    output, gradient = problem.head.step(problem.embedding, problem.label, lr=0.1, momentum=0.9, wd=0)
    assert not output.correct.any()
    assert torch.isfinite(gradient).all()


def test_a_small_loss_is_not_rounded_away() -> None:
    """At 1e-9 the probability is 1 in float32, so log-sum-exp minus the target's logit would be 0."""
    problem = make_problem(1, 2, 2, dtype=torch.float32, kind="softmax", no_bias=True)
    with torch.no_grad():
        problem.head.fc7_weight.copy_(torch.tensor([[20.7, 0.0], [0.0, 0.0]]))
    embedding, label = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    output, gradient = problem.head.step(embedding, label, lr=0.1, momentum=0.9, wd=0)
    probability_of_the_other = torch.exp(torch.tensor(-20.7))
    torch.testing.assert_close(output.loss, probability_of_the_other)
    torch.testing.assert_close(gradient[0, 0], -20.7 * probability_of_the_other)


def test_a_refused_step_changes_nothing() -> None:
    problem = make_problem(5, 20, 4, m2=0.5)
    before = {name: tensor.clone() for name, tensor in problem.head.state_dict().items()}

    def refuse(output: HeadOutput) -> None:
        raise ArithmeticError(float(output.loss))

    with pytest.raises(ArithmeticError):
        problem.head.step(problem.embedding, problem.label, lr=0.1, momentum=0.9, wd=0.1, check=refuse)
    after = problem.head.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_state_dict_resumes() -> None:
    straight, first, second = (make_problem(5, 20, 4, kind="softmax") for _ in range(3))
    rate = {"lr": 0.1, "momentum": 0.9, "wd": 0.01}
    for problem in (straight, straight, first):
        problem.head.step(problem.embedding, problem.label, **rate)
    second.head.load_state_dict(first.head.state_dict())
    second.head.step(second.embedding, second.label, **rate)
    resumed = second.head.state_dict()
    assert set(resumed) == {"fc7_weight", "fc7_bias", "fc7_weight_momentum", "fc7_bias_momentum"}
    assert all(torch.equal(resumed[name], tensor) for name, tensor in straight.head.state_dict().items())


def test_multipliers_and_rescale() -> None:
    plain, scaled = (make_problem(5, 20, 4, kind="softmax") for _ in range(2))
    start = scaled.head.fc7_weight.detach().clone()
    plain.head.step(plain.embedding, plain.label, lr=0.1, momentum=0.0, wd=0.0)
    gradient = -plain.head.fc7_weight_momentum / 0.1
    scaled.head.step(
        scaled.embedding, scaled.label, lr=0.1, momentum=0.0, wd=0.5, rescale=0.25,
        lr_mult={"fc7_weight": 3.0, "fc7_bias": 0.0}, wd_mult={"fc7_weight": 2.0},
    )  # fmt: skip
    torch.testing.assert_close(scaled.head.fc7_weight_momentum, -0.3 * (0.25 * gradient + 1.0 * start))
    assert torch.equal(scaled.head.fc7_bias_momentum, torch.zeros(20, dtype=torch.float64))


def test_bfloat16_products_keep_the_target_exact() -> None:
    exact, rough = (
        make_problem(32, 500, 64, dtype=torch.float32, m2=0.5, product_dtype=dtype) for dtype in (None, torch.bfloat16)
    )
    rate = {"lr": 1.0, "momentum": 0.0, "wd": 0.0}
    (output, gradient), (rough_output, rough_gradient) = (
        p.head.step(p.embedding, p.label, **rate) for p in (exact, rough)
    )
    assert rough.head.fc7_weight_momentum.dtype == rough_gradient.dtype == torch.float32
    torch.testing.assert_close(rough_output.loss, output.loss, rtol=2e-3, atol=0)
    assert (rough_gradient - gradient).norm() < 0.05 * gradient.norm()
    moved, rough_moved = exact.head.fc7_weight_momentum, rough.head.fc7_weight_momentum
    assert (rough_moved - moved).norm() < 0.05 * moved.norm()


def test_a_step_is_the_same_under_autocast() -> None:
    plain, cast = (make_problem(8, 30, 6, dtype=torch.float32, m2=0.5) for _ in range(2))
    _, gradient = plain.head.step(plain.embedding, plain.label, lr=0.1, momentum=0.9, wd=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, cast_gradient = cast.head.step(cast.embedding, cast.label, lr=0.1, momentum=0.9, wd=0.0)
    assert torch.equal(gradient, cast_gradient)
    assert torch.equal(plain.head.fc7_weight, cast.head.fc7_weight)


@pytest.mark.parametrize("kept_bytes", [0, 256 << 20])
@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_holds_no_gradient_of_the_centres(
    product_dtype: torch.dtype | None, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, classes, emb_size, chunk = 8, 5000, 32, 256
    monkeypatch.setitem(fused_softmax.CHUNK_CLASSES, "cpu", chunk)
    monkeypatch.setattr(fused_softmax, "KEPT_PRODUCT_BYTES", kept_bytes)
    problem = make_problem(batch, classes, emb_size, dtype=torch.float32, m2=0.5, product_dtype=product_dtype)
    with LargestStorages(problem.head.state_dict().values()) as storages:
        problem.head.step(problem.embedding, problem.label, lr=0.1, momentum=0.9, wd=0.01)
    largest, *others = sorted(storages.sizes.values(), reverse=True)
    products = classes * batch * (4 if product_dtype is None else 2)
    one_chunk = chunk * emb_size * 4
    assert largest <= (products if kept_bytes else one_chunk)
    assert max(others) <= one_chunk < products < classes * emb_size * 4


def test_start_is_normal_and_seeded() -> None:
    config = HeadConfig(num_classes=1000, emb_size=64, kind="softmax")
    heads = [SoftmaxHead(config, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(heads[0].fc7_weight, heads[1].fc7_weight)
    assert not torch.equal(heads[0].fc7_weight, heads[2].fc7_weight)
    assert heads[0].fc7_weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not heads[0].fc7_bias.any()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": "triplet"}, "loss_name"),
        ({"num_classes": 0}, "num_classes"),
        ({"s": 0.0}, "loss_s"),
        ({"m1": -1.0}, "loss_m1"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HeadConfig(**{"num_classes": 3, "emb_size": 2, **options})


def test_an_ignored_margin_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    HeadConfig(num_classes=3, emb_size=2, m1=1.5, m3=-0.1)
    assert "no effect" in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_gpu_equals_cpu(product_dtype: torch.dtype | None) -> None:
    options = {"dtype": torch.float32, "m2": 0.5, "product_dtype": product_dtype}
    cpu, gpu = (make_problem(16, 300, 32, **options) for _ in range(2))
    gpu.head.cuda()
    rate = {"lr": 0.1, "momentum": 0.9, "wd": 0.01}
    output, gradient = cpu.head.step(cpu.embedding, cpu.label, **rate)
    gpu_output, gpu_gradient = gpu.head.step(gpu.embedding.cuda(), gpu.label.cuda(), **rate)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if product_dtype is None else {"rtol": 0.05, "atol": 0.01}
    torch.testing.assert_close(gpu_output.loss.cpu(), output.loss, **tolerance)
    torch.testing.assert_close(gpu_gradient.cpu(), gradient, **tolerance)
    torch.testing.assert_close(gpu.head.fc7_weight.cpu(), cpu.head.fc7_weight, **tolerance)
