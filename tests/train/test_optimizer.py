"""MXNet's SGD: its formula, its state, its multipliers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mxface import graph
from mxface.errors import ConfigError
from mxface.graph import sym
from mxface.train.optimizer import SGD, Multipliers, named_multipliers


def make_parameters(seed: int = 0) -> list[tuple[str, nn.Parameter]]:
    rng = torch.Generator().manual_seed(seed)
    return [(name, nn.Parameter(torch.randn(shape, generator=rng))) for name, shape in
            [("conv_weight", (4, 3, 3, 3)), ("fc_weight", (5, 4)), ("fc_bias", (5,))]]  # fmt: skip


@settings(deadline=None)
@given(
    momentum=st.floats(0, 0.99),
    wd=st.floats(0, 0.1),
    rescale=st.sampled_from([1.0, 0.5, 0.125]),
    clip=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 1000),
)
def test_formula(momentum: float, wd: float, rescale: float, clip: float | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    multipliers = Multipliers({"fc_bias": 2.0}, {"fc_bias": 0.0, "fc_weight": 10.0})
    parameters = make_parameters(seed)
    optimizer = SGD(parameters, lr=0.1, momentum=momentum, wd=wd, rescale_grad=rescale, clip_gradient=clip,
                    multipliers=multipliers)  # fmt: skip
    expected = {name: parameter.detach().double().numpy().copy() for name, parameter in parameters}
    velocity = {name: np.zeros_like(value) for name, value in expected.items()}
    for lr in (0.1, 0.1, 0.01):
        optimizer.lr = lr
        for name, parameter in parameters:
            gradient = rng.standard_normal(parameter.shape)
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
            step = gradient * rescale if clip is None else np.clip(gradient * rescale, -clip, clip)
            step += wd * multipliers.wd.get(name, 1.0) * expected[name]
            velocity[name] = momentum * velocity[name] - lr * multipliers.lr.get(name, 1.0) * step
            expected[name] += velocity[name]
        optimizer.step()
    for name, parameter in parameters:
        np.testing.assert_allclose(parameter.detach().numpy(), expected[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(optimizer.state_dict()[name].numpy(), velocity[name], rtol=1e-5, atol=1e-5)


def test_a_lower_rate_does_not_scale_past_steps() -> None:
    (_, weight) = parameter = ("w", nn.Parameter(torch.zeros(1)))
    optimizer = SGD([parameter], lr=0.1, momentum=0.5)
    weight.grad = torch.ones(1)
    optimizer.step()
    optimizer.lr, weight.grad = 0.0, torch.ones(1)
    optimizer.step()
    assert weight.item() == pytest.approx(-0.15)  # torch.optim.SGD would stand still at -0.1


def test_without_a_gradient_there_is_still_decay() -> None:
    gamma = nn.Parameter(torch.ones(3))
    SGD([("gamma", gamma)], lr=0.1, momentum=0.9, wd=0.0005).step()
    torch.testing.assert_close(gamma.detach(), torch.full((3,), 1 - 0.1 * 0.0005))


def test_gradients_are_left_as_they_were() -> None:
    parameters = make_parameters()
    gradients = {name: torch.randn_like(parameter) for name, parameter in parameters}
    for name, parameter in parameters:
        parameter.grad = gradients[name].clone()
    optimizer = SGD(parameters, lr=0.1, rescale_grad=0.5, clip_gradient=0.1)
    optimizer.step()
    for name, parameter in parameters:
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradients[name])
    optimizer.zero_grad()
    assert all(parameter.grad is None for _, parameter in parameters)


def test_state_resumes() -> None:
    straight, resumed = make_parameters(), make_parameters()
    gradients = [[torch.randn(p.shape) for _, p in straight] for _ in range(4)]

    def run(parameters: list[tuple[str, nn.Parameter]], optimizer: SGD, steps: list[list[torch.Tensor]]) -> None:
        for step in steps:
            for (_, parameter), gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient
            optimizer.step()

    run(straight, SGD(straight, lr=0.1, momentum=0.9, wd=0.01), gradients)
    first = SGD(resumed, lr=0.1, momentum=0.9, wd=0.01)
    run(resumed, first, gradients[:2])
    second = SGD(resumed, lr=0.1, momentum=0.9, wd=0.01)
    second.load_state_dict({name: buffer.clone() for name, buffer in first.state_dict().items()})
    run(resumed, second, gradients[2:])
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(straight, resumed, strict=True))


def test_a_state_of_another_network_is_refused() -> None:
    optimizer = SGD(make_parameters(), lr=0.1)
    state = optimizer.state_dict()
    with pytest.raises(ConfigError, match="fc_bias"):
        optimizer.load_state_dict({name: buffer for name, buffer in state.items() if name != "fc_bias"})
    with pytest.raises(ConfigError, match=r"fc_bias is \(7,\) there, \(5,\) here"):
        optimizer.load_state_dict({**state, "fc_bias": torch.zeros(7)})


def test_named_multipliers_are_mxnets() -> None:
    data = graph.Variable("data")
    net = sym.BatchNorm(sym.Convolution(data, num_filter=4, kernel=(3, 3), name="conv"), name="bn")
    weight = graph.Variable("fc7_weight", lr_mult=1.0, wd_mult=10.0)
    net = sym.FullyConnected(net, weight=weight, num_hidden=5, name="fc7", attr={"__lr_mult__": "2.0"})
    multipliers = named_multipliers(net, inputs=["data"])
    assert multipliers.wd == {"conv_bias": 0.0, "bn_beta": 0.0, "fc7_bias": 0.0, "fc7_weight": 10.0}
    assert multipliers.lr == {"fc7_weight": 1.0, "fc7_bias": 2.0}


def test_clipping_takes_the_length_over_all_parameters() -> None:
    first, second, third = (nn.Parameter(torch.zeros(size)) for size in (2, 3, 4))
    sgd = SGD([("first", first), ("second", second), ("third", third)], lr=1.0)
    first.grad, second.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0, 0.0])
    for largest in (0.0, 6.0):  # no limit, and one that is not reached
        assert sgd.clip(largest) == 5.0
        assert first.grad.tolist() == [3.0, 0.0]
    assert sgd.clip(2.5) == 5.0
    assert first.grad.tolist() == [1.5, 0.0]
    assert second.grad.tolist() == [0.0, 2.0, 0.0]
    first.grad[1] = torch.inf
    assert sgd.clip(1.0) == math.inf
    assert first.grad[0] == 1.5


@pytest.mark.parametrize("lr", [0.1, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_fused_pass_is_the_rule(lr: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator, dtype=dtype) for shape in ((8, 4, 3, 3), (5,))]
    weights[0] = weights[0].to(memory_format=torch.channels_last)
    parameters = [nn.Parameter(weight.clone(memory_format=torch.preserve_format)) for weight in weights]
    sgd = SGD(
        [(f"{number}_weight", parameter) for number, parameter in enumerate(parameters)], lr=lr, momentum=0.9, wd=0.1
    )
    expected = [(weight.double(), torch.zeros_like(weight, dtype=torch.float64)) for weight in weights]
    for step in range(3):
        gradients = [torch.randn(weight.shape, generator=generator, dtype=dtype) for weight in weights]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            # the first two lie as their weights do, the third is contiguous: no fused pass may take it
            parameter.grad = torch.empty_like(parameter).copy_(gradient) if step < 2 else gradient
        sgd.step()
        moved = []
        for (weight, buffer), gradient in zip(expected, gradients, strict=True):
            buffer = 0.9 * buffer - lr * (gradient.double() + 0.1 * weight)
            moved.append((weight + buffer, buffer))
        expected = moved
    for parameter, buffer, (weight, expected_buffer) in zip(
        parameters, sgd.state_dict().values(), expected, strict=True
    ):
        torch.testing.assert_close(parameter.detach().double(), weight, rtol=0, atol=1e-6)
        torch.testing.assert_close(buffer.double(), expected_buffer, rtol=1e-5, atol=1e-6 * lr)


@pytest.mark.gpu
def test_the_fused_pass_is_the_same_on_a_gpu() -> None:
    moved = []
    for device in ("cpu", "cuda"):
        parameters = [(name, nn.Parameter(parameter.detach().to(device))) for name, parameter in make_parameters()]
        sgd = SGD(parameters, lr=0.1, momentum=0.9, wd=0.01)
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            for _, parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=generator).to(device)
            sgd.step()
        moved.append([parameter.detach().cpu() for _, parameter in parameters])
    for on_cpu, on_gpu in zip(*moved, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-5, atol=1e-6)
